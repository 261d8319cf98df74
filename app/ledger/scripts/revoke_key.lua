-- Forgets an inference key: the next request that presents it is refused.
-- ARGV: key id
-- Writes inference_keys. Returns 'done'.
write_even_if_full()
redis.call('HDEL', K.inference_keys(), ARGV[1])
return 'done'
