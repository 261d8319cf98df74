-- All that a request to the data plane has to know first, in one call.
-- ARGV: deployment name, key id
-- Reads inference_keys, and what lib/deployment reads.
-- Returns {the key's entry or false, deployment record or false}.
return {redis.call('HGET', K.inference_keys(), ARGV[2]), deployment_named(ARGV[1])}
