-- Keeps what a replica printed with its job, which is over and not yet torn down.
-- ARGV: uid, id, attempt, fence, payload token, size, whether its beginning is cut off (0 | 1)
-- Reads and writes job; sets the payload's end of life. Returns 'done' | 'stale'.
-- Repeated by the same holder: 'done' again.
write_even_if_full()
local uid, id, attempt, fence, token, size, cut = unpack(ARGV)
local key = K.job(uid, id)
local job = fields(key, 'state', 'attempt', 'fence', 'result_expires_at')
if not job.state or unfinished(job.state) or not holds(job, attempt, fence) then return 'stale' end
redis.call('HSET', key, 'log', token, 'log_size', size, 'log_cut', cut)
redis.call('EXPIREAT', K.payload(token), math.ceil(tonumber(job.result_expires_at)))
return 'done'
