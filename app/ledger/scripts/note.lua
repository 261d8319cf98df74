-- Notes in the timeline what happens to an attempt before it is started.
-- ARGV: uid, id, attempt, fence, number of the note (counted by its holder), event, detail
-- Reads and writes job; writes timeline. Returns 'done' | 'stale'.
-- Repeated by the same holder: 'done' again, and noted once.
write_even_if_full()
local uid, id, attempt, fence, number, event, detail = unpack(ARGV)
local key = K.job(uid, id)
local job = fields(key, 'state', 'attempt', 'fence', 'noted')
if job.state ~= 'starting' or not holds(job, attempt, fence) then return 'stale' end
local name = attempt .. '.' .. fence .. '.' .. number
if job.noted == name then return 'done' end
redis.call('HSET', key, 'noted', name)
note(uid, id, event, detail)
return 'done'
