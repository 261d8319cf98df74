-- A node's sign of life, with what it offers.
-- ARGV: node, info (JSON), identity (of the machine and its engine), silent seconds
-- Reads and writes nodes, node. Returns 'done' | 'draining' (done, and it takes no new jobs) | 'taken'
-- (another machine that is not silent gave a sign of life under this id: its spool root was copied).
write_even_if_full()
local node, info, identity, silent = unpack(ARGV)
local known, last = redis.call('HGET', K.node(node), 'identity'), redis.call('ZSCORE', K.nodes(), node)
if known and known ~= identity and last and tonumber(last) > now() - tonumber(silent) then
  return 'taken'
end
redis.call('ZADD', K.nodes(), now(), node)
redis.call('HSET', K.node(node), 'info', info, 'identity', identity)
return redis.call('HEXISTS', K.node(node), 'draining') == 1 and 'draining' or 'done'
