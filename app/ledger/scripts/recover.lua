-- Begins a recovery: this ledger may have forgotten claims. Until every known node has reported what
-- it runs, or was forgotten, nothing is claimed.
-- ARGV: the epoch before it (a repeat finds another one, and does nothing)
-- Reads nodes; writes ledger, recovering. Returns the nodes that have to report.
write_even_if_full()
if redis.call('HGET', K.ledger(), 'epoch') == ARGV[1] then
  redis.call('HINCRBY', K.ledger(), 'epoch', 1)
  for _, node in ipairs(redis.call('ZRANGE', K.nodes(), 0, -1)) do
    redis.call('SADD', K.recovering(), node)
  end
end
return redis.call('SMEMBERS', K.recovering())
