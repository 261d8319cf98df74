-- Moves an attempt on within the node that holds it: starting → starting | running.
-- ARGV: uid, id, from, attempt, fence, to, event, field, value, field, value, …
-- Reads and writes job; writes timeline, deadlines (if deadline_at is among the fields).
-- Returns 'done' | 'stale'. Repeated by the same holder: 'done' again, and noted once. A repeat
-- is known by the new state and the same fields.
write_even_if_full()
local uid, id, from, attempt, fence, to, event = unpack(ARGV, 1, 7)
local key = K.job(uid, id)
local job = fields(key, 'state', 'attempt', 'fence')
if not holds(job, attempt, fence) then return 'stale' end
local repeated = job.state == to and (from ~= to or #ARGV > 7)
for i = 8, #ARGV, 2 do
  repeated = repeated and redis.call('HGET', key, ARGV[i]) == ARGV[i + 1]
end
if repeated then return 'done' end
if job.state ~= from then return 'stale' end
redis.call('HSET', key, 'state', to, unpack(ARGV, 8))
for i = 8, #ARGV, 2 do
  if ARGV[i] == 'deadline_at' then
    redis.call('ZADD', K.deadlines(), tonumber(ARGV[i + 1]), ref_of(uid, id))
  end
end
note(uid, id, event)
return 'done'
