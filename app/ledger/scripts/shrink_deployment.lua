-- One bounded step of deleting a terminating deployment.
-- ARGV: uid, limit
-- First cancels up to `limit` waiting jobs, then looks at up to `limit` that hold a slot: those
-- without a container are cancelled, the others get a cancel flag. When no slot is taken any
-- more it deletes up to `limit` records; with the last one, all the rest.
-- Reads and writes deployment, queue, slots, jobs, job; at last deletes them and the name.
-- Returns 'gone', 'more' (call again at once) or 'busy' (slots are taken).
write_even_if_full()
local uid, limit = ARGV[1], tonumber(ARGV[2])
local deployment = fields(K.deployment(uid), 'state', 'name')
if not deployment.state then
  redis.call('SREM', K.terminating(), uid)
  return 'gone'
end
if deployment.state ~= 'terminating' then return 'busy' end

local detail = 'its deployment was deleted'
local waiting = redis.call('ZPOPMIN', K.queue(uid), limit)
for i = 1, #waiting, 2 do
  finish(uid, waiting[i], 'cancelled', 'deployment_deleted', detail)
end
if #waiting == 2 * limit then return 'more' end

local held, changed = redis.call('SCARD', K.slots(uid)), false
for _, id in ipairs(redis.call('SRANDMEMBER', K.slots(uid), limit)) do
  local state = redis.call('HGET', K.job(uid, id), 'state')
  if state == 'dispatched' or not state then
    finish(uid, id, 'cancelled', 'deployment_deleted', detail)
    redis.call('SREM', K.slots(uid), id)
    changed = true
  elseif state == 'starting' or state == 'running' then
    changed = redis.call('HSETNX', K.job(uid, id), 'cancel', 'deployment_deleted') == 1 or changed
  end
end
if redis.call('SCARD', K.slots(uid)) > 0 then
  -- More than `limit`: which ones were looked at is chance, so as long as that changes something.
  return changed and held > limit and 'more' or 'busy'
end
if taken(uid) > 0 then return 'busy' end -- by strays

local old = redis.call('ZPOPMIN', K.jobs(uid), limit)
for i = 1, #old, 2 do forget(uid, old[i]) end
if #old == 2 * limit then return 'more' end
redis.call('DEL', K.deployment(uid), K.specs(uid), K.older(uid), K.queue(uid), K.slots(uid),
  K.jobs(uid))
redis.call('SREM', K.terminating(), uid)
redis.call('SREM', K.admissions(), uid)
if redis.call('HGET', K.deployments(), deployment.name) == uid then
  redis.call('HDEL', K.deployments(), deployment.name)
end
return 'gone'
