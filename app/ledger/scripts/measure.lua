-- All that is told of the ledger as a whole, at one instant.
-- ARGV: seconds after its deadline in which an attempt may still be ended
-- Reads counts, ttl, deadlines, retention, due_strays, recovering, deployments, nodes, and of each
-- node: node, leases, node_strays. Writes nothing.
-- Returns {now, counts as a flat list, flat list of gauges by name, {node, seen, hash as a flat
-- list, leases, lapsed leases, strays} for each node, uids of the deployments}.
local t, nodes = now(), {}
local function due(key, till) return redis.call('ZCOUNT', key, '-inf', till) end

local signs = redis.call('ZREVRANGE', K.nodes(), 0, -1, 'WITHSCORES')
for i = 1, #signs, 2 do
  local node = signs[i]
  nodes[#nodes + 1] = {node, signs[i + 1], redis.call('HGETALL', K.node(node)),
    redis.call('ZCARD', K.leases(node)), due(K.leases(node), t),
    redis.call('SCARD', K.node_strays(node))}
end
local gauges = {
  'waiting', redis.call('ZCARD', K.ttl()),
  'started', redis.call('ZCARD', K.deadlines()),
  'overrun', due(K.deadlines(), t - tonumber(ARGV[1])),
  'strays', redis.call('ZCARD', K.due_strays()),
  'past_ttl', due(K.ttl(), t),
  'past_retention', due(K.retention(), t),
  'past_strays', due(K.due_strays(), t),
  'reports', redis.call('SCARD', K.recovering()),
}
return {stamp(t), redis.call('HGETALL', K.counts()), gauges, nodes,
  redis.call('HVALS', K.deployments())}
