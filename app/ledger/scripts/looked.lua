-- All is told that a running replica printed up to an instant.
-- ARGV: uid, id, attempt, fence, the instant (by Redis's clock)
-- Reads job; reads and writes live. Returns 'done' | 'stale'.
-- Repeated: 'done' again. Where nothing was told yet, or what was told is gone, it says nothing.
write_even_if_full()
local uid, id, attempt, fence, at = unpack(ARGV)
local job = fields(K.job(uid, id), 'state', 'attempt', 'fence')
if not job.state or not holds(job, attempt, fence) then return 'stale' end
local key = K.live(uid, id)
if redis.call('HGET', key, 'attempt') == attempt then redis.call('HSET', key, 'looked', at) end
return 'done'
