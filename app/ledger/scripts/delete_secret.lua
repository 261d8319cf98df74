-- Forgets a secret. Who calls has seen that no deployment refers to it, or does not mind.
-- ARGV: kind, name
-- Writes secrets. Returns 'done' | 'missing'. Repeated: 'missing', which is what it is.
write_even_if_full()
local kind, name = unpack(ARGV)
return redis.call('HDEL', K.secrets(kind), name) == 1 and 'done' or 'missing'
