-- Gives an attempt up, which is then followed by another. Its slot stays taken, and its lease held,
-- until its container is gone: then comes `requeue`. Whoever takes the attempt over in between does
-- nothing else with it.
-- ARGV: uid, id, attempt, fence, reason, detail, whether it counts (0 | 1)
-- Reads and writes job; writes timeline. Returns 'done' | 'stale'. Repeated: 'done' again.
write_even_if_full()
local uid, id, attempt, fence, reason, detail, counts = unpack(ARGV)
local key = K.job(uid, id)
local job = fields(key, 'state', 'attempt', 'fence', 'abandoned')
if not holds(job, attempt, fence) then return 'stale' end
if job.state ~= 'starting' and job.state ~= 'running' then return 'stale' end
if job.abandoned then return 'done' end
redis.call('HSET', key, 'abandoned', reason, 'abandoned_detail', detail, 'abandoned_counts', counts)
note(uid, id, 'abandoned', detail)
return 'done'
