-- Stores a new deployment unless its name is taken.
-- ARGV: name, uid, spec, compute, size, max_replica_count, created_by, hint_seconds
-- Reads and writes deployments; writes deployment, specs.
-- Returns created_at, or false if the name is taken. Repeated with the same uid: the same answer.
local name, uid, spec, compute, size, max_replicas, created_by, hint_seconds = unpack(ARGV)
local taken = redis.call('HGET', K.deployments(), name)
if taken and taken ~= uid then return false end
if not taken then
  redis.call('HSET', K.deployments(), name, uid)
  redis.call('HSET', K.specs(uid), '1', spec)
  redis.call('HSET', K.deployment(uid), 'uid', uid, 'name', name, 'state', 'running',
    'version', '1', 'compute', compute, 'size', size, 'max_replica_count', max_replicas, 'seq', '0',
    'created_at', stamp(now()), 'created_by', created_by, 'hint_seconds', hint_seconds)
end
return redis.call('HGET', K.deployment(uid), 'created_at')
