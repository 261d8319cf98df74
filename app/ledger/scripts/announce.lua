-- A sign of life of one worker process of a node, with what it offers.
-- ARGV: node, info (JSON), identity (of the machine and its engine), silent seconds, process
-- Reads and writes nodes, node. Returns 'done' | 'draining' (done, and it takes no new jobs) | 'taken'
-- (another machine that is not silent gave a sign of life under this id: its spool root was copied).
write_even_if_full()
local node, info, identity, silent, process = unpack(ARGV)
local key, t = K.node(node), now()
local known, last = redis.call('HGET', key, 'identity'), redis.call('ZSCORE', K.nodes(), node)
if known and known ~= identity and last and tonumber(last) > t - tonumber(silent) then
  return 'taken'
end
redis.call('ZADD', K.nodes(), t, node)
redis.call('HSET', key, 'identity', identity, 'info:' .. process, info, 'at:' .. process, stamp(t))
-- What a process said that is gone since is said no more.
local said = redis.call('HGETALL', key)
for i = 1, #said, 2 do
  local other = string.match(said[i], '^at:(.*)$')
  if other and tonumber(said[i + 1]) <= t - tonumber(silent) then
    redis.call('HDEL', key, said[i], 'info:' .. other)
  end
end
return redis.call('HEXISTS', key, 'draining') == 1 and 'draining' or 'done'
