-- Keeps what a replica printed with its job, which is over and not yet torn down.
-- ARGV: uid, id, attempt, fence, payload token, size, whether its beginning is cut off (0 | 1),
--       number of chunks stored before, payload head, last chunk of the body ('' = none)
-- Reads job; writes job, payload; sets the payload's end of life. Returns 'done' | 'stale'.
-- Repeated by the same holder: 'done' again. Where Redis is full it fails: a log is not worth the
-- room that is kept for what moves work on.
local uid, id, attempt, fence, token, size, cut, chunks, head, tail = unpack(ARGV)
local key, payload = K.job(uid, id), K.payload(token)
local job = fields(key, 'state', 'attempt', 'fence', 'result_expires_at')
if not job.state or unfinished(job.state) or not holds(job, attempt, fence) then return 'stale' end
if tail ~= '' then
  redis.call('HSET', payload, chunks, tail)
  chunks = tonumber(chunks) + 1
end
redis.call('HSET', payload, 'head', head, 'chunks', chunks)
redis.call('EXPIREAT', payload, math.ceil(tonumber(job.result_expires_at)))
redis.call('HSET', key, 'log', token, 'log_size', size, 'log_cut', cut)
return 'done'
