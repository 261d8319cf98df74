-- Accepts a job: binds its id, stores its record, queues it, gives it a slot if one is free.
-- ARGV: uid, id, digest, method, target, payload token, payload size, number of chunks stored
--       before, prefer, ttl seconds, queue limit, record retention seconds, result retention
--       seconds, payload head, last chunk of the body ('' = none), and what the caller takes for
--       granted: key id, the key's entry, version of the deployment ('' = it has asked before)
-- Reads deployment, inference_keys; writes job, timeline, payload, jobs, queue, ttl, counts, and
-- what admit writes.
-- Returns {'accepted', hints} | {'repeated', {}} | {'conflict'} | {'terminating'} | {'missing'}
--       | {'full', length} | {'unstored'} (the chunks stored before are not all there)
--       | {'outdated'} (what was taken for granted is not so; nothing was done).
-- Repeated with the same token: 'accepted' again, one job. The hints of the lost answer are lost
-- but for the job's own; the sweep publishes them.
local uid, id, digest, method, target, token, size, chunks, prefer, ttl, limit, record_retention,
  result_retention, head, tail, key_id, entry, version = unpack(ARGV)
local deployment = admission_of(uid)
if not deployment.state then return {'missing'} end

local key = K.job(uid, id)
local known = fields(key, 'digest', 'payload', 'state', 'compute')
if known.payload == token then
  if known.state ~= 'dispatched' then return {'accepted', {}} end
  return {'accepted', {id, known.compute, deployment.name}}
end
if version ~= '' and (deployment.version ~= version
    or redis.call('HGET', K.inference_keys(), key_id) ~= entry) then return {'outdated'} end
if known.digest then return {known.digest == digest and 'repeated' or 'conflict', {}} end
if deployment.state == 'terminating' then return {'terminating'} end
local length = redis.call('ZCARD', K.queue(uid))
if length >= tonumber(limit) then return {'full', length} end
local payload = K.payload(token)
if chunks ~= '0' and redis.call('HLEN', payload) ~= tonumber(chunks) then return {'unstored'} end

local t = now()
local seq = redis.call('HINCRBY', K.deployment(uid), 'seq', 1)
if tail == '' then
  redis.call('HSET', payload, 'head', head, 'chunks', chunks)
else
  redis.call('HSET', payload, 'head', head, chunks, tail, 'chunks', tonumber(chunks) + 1)
end
if chunks ~= '0' then redis.call('PERSIST', payload) end
redis.call('HSET', key, 'id', id, 'uid', uid, 'deployment', deployment.name, 'state', 'queued',
  'attempt', '1', 'fence', '0', 'seq', seq, 'digest', digest, 'method', method, 'target', target,
  'payload', token, 'payload_size', size, 'prefer', prefer, 'compute', deployment.compute,
  'version', deployment.version, 'created_at', stamp(t), 'ttl', ttl,
  'expires_at', stamp(t + tonumber(ttl)),
  'record_retention', record_retention, 'result_retention', result_retention)
redis.call('ZADD', K.jobs(uid), seq, id)
redis.call('ZADD', K.queue(uid), seq, id)
redis.call('ZADD', K.ttl(), t + tonumber(ttl), ref_of(uid, id))
note(uid, id, 'queued')
count('accepted')
return {'accepted', admit(uid, deployment)}
