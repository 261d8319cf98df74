-- A node's sign of life, with what it offers.
-- ARGV: node, info (JSON)
-- Writes nodes, node.
redis.call('ZADD', K.nodes(), now(), ARGV[1])
redis.call('HSET', K.node(ARGV[1]), 'info', ARGV[2])
return 'done'
