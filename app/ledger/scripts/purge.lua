-- Cancels jobs that wait, a bounded part: those in the queue, then those that no worker has claimed.
-- ARGV: uid, limit, the last job to purge ('' = the last one accepted so far; jobs that are accepted
--       while this is called again and again are not meant), SCAN cursor ('' = the queue is first)
-- Reads deployment, queue, slots, job; writes queue, slots, and what finish and admit write.
-- Returns {last job, cursor ('0' = all is done), hints}.
write_even_if_full()
local uid, limit, last, cursor = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
if last == '' then last = redis.call('HGET', K.deployment(uid), 'seq') or '0' end

local function purge(id)
  finish(uid, id, 'cancelled', 'purged', 'purged from the queue')
end

if cursor == '' then
  local waiting = redis.call('ZRANGEBYSCORE', K.queue(uid), '-inf', last, 'LIMIT', 0, limit)
  for _, id in ipairs(waiting) do
    redis.call('ZREM', K.queue(uid), id)
    purge(id)
  end
  return {last, #waiting == limit and '' or 'slots', {}}
end
local scanned = redis.call('SSCAN', K.slots(uid), cursor == 'slots' and '0' or cursor, 'COUNT', limit)
for _, id in ipairs(scanned[2]) do
  local job = fields(K.job(uid, id), 'state', 'seq')
  if job.state == 'dispatched' and tonumber(job.seq) <= tonumber(last) then
    leave_slot(uid, id)
    purge(id)
  end
end
local going_on = scanned[1]
-- Refused at their claim meanwhile, they are in the queue again.
if going_on == '0' and redis.call('ZCOUNT', K.queue(uid), '-inf', last) > 0 then going_on = '' end
return {last, going_on, admit(uid)}
