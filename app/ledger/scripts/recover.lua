-- Begins a recovery: this ledger may have forgotten claims. Until every known node has reported what
-- it runs, or was forgotten, nothing is claimed.
-- ARGV: the epoch before it (a repeat finds another one, and does nothing), then nodes that have to
--       report though this ledger may not know them: to it, they were never heard of
-- Reads and writes nodes; writes ledger, recovering. Returns the nodes that have to report.
write_even_if_full()
if redis.call('HGET', K.ledger(), 'epoch') == ARGV[1] then
  redis.call('HINCRBY', K.ledger(), 'epoch', 1)
  for i = 2, #ARGV do redis.call('ZADD', K.nodes(), 'NX', 0, ARGV[i]) end
  for _, node in ipairs(redis.call('ZRANGE', K.nodes(), 0, -1)) do
    redis.call('SADD', K.recovering(), node)
  end
end
return redis.call('SMEMBERS', K.recovering())
