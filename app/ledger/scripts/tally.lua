-- Adds what a worker process has counted by itself.
-- ARGV: the process, the number of this addition, seconds to remember it, field, by, field, by, …
-- Reads and writes told; writes counts. Returns 'done' | 'repeated' (it was added before).
write_even_if_full()
local key, number = K.told(ARGV[1]), tonumber(ARGV[2])
if number <= tonumber(redis.call('GET', key) or 0) then return 'repeated' end
for i = 4, #ARGV, 2 do count(ARGV[i], ARGV[i + 1]) end
redis.call('SET', key, number, 'EX', ARGV[3])
return 'done'
