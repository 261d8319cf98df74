-- Which ledger this is: a random id that it got once, and how often it was recovered.
-- ARGV: an id for one that has none
-- Reads and writes ledger. Returns {id, epoch}.
write_even_if_full()
redis.call('HSETNX', K.ledger(), 'id', ARGV[1])
redis.call('HSETNX', K.ledger(), 'epoch', 1)
return redis.call('HMGET', K.ledger(), 'id', 'epoch')
