-- Takes over an attempt of this node whose supervisor let its lease lapse: the next fence.
-- ARGV: uid, id, node, lease seconds, claim token (a repeat with the same token is answered alike)
-- Reads job; writes job, leases.
-- Returns {'taken', record} | {'held'} (its lease is good) | {'elsewhere'} | {'over'}.
write_even_if_full()
local uid, id, node, lease, token = unpack(ARGV)
local key, ref, t = K.job(uid, id), ref_of(uid, id), now()
local job = fields(key, 'state', 'node', 'fence', 'claim', 'teardown')
if not job.state then
  leave_node(node, ref)
  return {'over'}
end
if job.node ~= node then
  leave_node(node, ref)
  return {'elsewhere'}
end
if not unfinished(job.state) and job.teardown ~= node then
  leave_node(node, ref)
  return {'over'}
end
if job.claim == token then return {'taken', redis.call('HGETALL', key)} end
-- It has to report first: what this ledger says of it may be old.
if redis.call('SISMEMBER', K.recovering(), node) == 1 then return {'held'} end
local ends = redis.call('ZSCORE', K.leases(node), ref)
if ends and tonumber(ends) > t then return {'held'} end
redis.call('HSET', key, 'fence', tonumber(job.fence) + 1, 'claim', token)
redis.call('ZADD', K.leases(node), t + tonumber(lease), ref)
return {'taken', redis.call('HGETALL', key)}
