-- Stores parts of a payload. As long as no job owns it, it has a time to live.
-- ARGV: token, ttl seconds, field, value, field, value, …
-- Reads and writes payload. Returns 'done'.
-- Fields are named by number: sent twice, a part is stored once. A repeat may arrive when a job
-- owns the payload already (then it has no time to live), or a longer one: both stay as they are.
local key, seconds = K.payload(ARGV[1]), tonumber(ARGV[2])
local left = redis.call('TTL', key) -- -2: no such key, -1: no time to live
redis.call('HSET', key, unpack(ARGV, 3))
if left == -2 or (left >= 0 and left < seconds) then redis.call('EXPIRE', key, seconds) end
return 'done'
