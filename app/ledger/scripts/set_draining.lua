-- Has a node take no new jobs, or take them again. What it holds goes on.
-- ARGV: node, draining ('yes' | 'no')
-- Reads nodes; writes node. Returns 'done' | 'missing'.
write_even_if_full()
local node, draining = unpack(ARGV)
if not redis.call('ZSCORE', K.nodes(), node) then return 'missing' end
if draining == 'yes' then
  redis.call('HSETNX', K.node(node), 'draining', stamp(now()))
else
  redis.call('HDEL', K.node(node), 'draining')
end
return 'done'
