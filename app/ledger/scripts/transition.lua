-- Moves an attempt on within the node that holds it: starting → starting | running.
-- ARGV: uid, id, from, attempt, fence, to, event, what its node saw before (see note_told), field, value,
--       field, value, …
-- Reads and writes job; writes in_state, timeline, counts, deadlines (once the job has started).
-- Returns 'done' | 'stale'. Repeated by the same holder: 'done' again, and noted once. A repeat
-- is known by the new state and the same fields.
write_even_if_full()
local uid, id, from, attempt, fence, to, event, told = unpack(ARGV, 1, 8)
local key = K.job(uid, id)
local job = fields(key, 'state', 'seq', 'attempt', 'fence', 'started_at', 'claimed_at')
if not holds(job, attempt, fence) then return 'stale' end
local repeated = job.state == to and (from ~= to or #ARGV > 8)
for i = 9, #ARGV, 2 do
  repeated = repeated and redis.call('HGET', key, ARGV[i]) == ARGV[i + 1]
end
if repeated then return 'done' end
if job.state ~= from then return 'stale' end
set_state(uid, id, job, to)
if #ARGV > 8 then redis.call('HSET', key, unpack(ARGV, 9)) end
-- The worker's clock may be wrong. By Redis's, the replica started before now.
local life, t = fields(key, 'started_at', 'deadline_at', 'sent_at'), now()
if life.deadline_at then
  local ends = t + tonumber(life.deadline_at) - tonumber(life.started_at)
  redis.call('ZADD', K.deadlines(), 'NX', ends, ref_of(uid, id))
end
note_told(uid, id, told)
note(uid, id, event)
if job.claimed_at then -- not of an attempt that an older file has forgotten
  local most = t - tonumber(job.claimed_at)
  if life.started_at and not job.started_at then observe('prepare', most) end
  if life.started_at and from ~= to then
    observe('healthy', lasted(life.started_at, life.sent_at or t, most))
  end
end
return 'done'
