-- Claims a dispatched job for a node: from here on the attempt belongs to it.
-- ARGV: uid, id, node, lease seconds, claim token (a repeat with the same token is answered
--       alike), the node's offer (JSON; '' or none = it has what it takes)
-- Reads job, deployment, slots, strays, node; writes job, in_state, timeline, leases, nodes, ttl,
-- dispatched, no_room, reserved, pledges, counts, and what admit writes. Returns {'claimed', {}, record} |
-- {'refused', hints} (it went back, expired or was cancelled) | {'not_dispatched', {}} |
-- {'elsewhere', {}} (not a job for this node: a message from before its deployment's compute changed) |
-- {'no_room', {}} (it waits in line, see lib/32-room.lua) | {'recovering', {}} | {'missing', {}} |
-- {'draining', {}} (the node takes no new jobs: the next sweep hints at this one again).
-- The record comes in the same call: read later, it could show the grip of who took over since.
write_even_if_full()
local uid, id, node, lease, token, offer_text = unpack(ARGV)
local key, ref, t = K.job(uid, id), ref_of(uid, id), now()
local job = fields(key, 'state', 'seq', 'expires_at', 'compute', 'size', 'fence', 'claim', 'attempt',
  'dispatched_at', 'created_at')
if not job.state then return {'missing', {}} end
if job.state == 'starting' and job.claim == token then
  return {'claimed', {}, redis.call('HGETALL', key)}
end
if job.state ~= 'dispatched' then return {'not_dispatched', {}} end
if recovering() then return {'recovering', {}} end

local deployment = fields(K.deployment(uid), 'state', 'compute', 'moving', 'max_replica_count')
if tonumber(job.expires_at) <= t then
  finish(uid, id, 'expired', 'queue_ttl', 'waited longer than its TTL allows')
  return {'refused', free_slot(uid, id)}
elseif deployment.state == 'terminating' then
  finish(uid, id, 'cancelled', 'deployment_deleted', 'its deployment was deleted')
  return {'refused', free_slot(uid, id)}
elseif deployment.state == 'paused' or deployment.compute ~= job.compute
  or deployment.moving -- it was dispatched with an earlier spec, and not called back yet
  -- The cap was lowered since: it holds for what starts, not only for what is let in.
  or taken(uid) > tonumber(deployment.max_replica_count) then
  put_back(uid, id)
  return {'refused', admit(uid)}
end

local offer = offer_text and offer_text ~= '' and cjson.decode(offer_text)
if offer and not offer.compute[job.compute] then return {'elsewhere', {}} end
if redis.call('HEXISTS', K.node(node), 'draining') == 1 then
  redis.call('ZADD', K.dispatched(job.compute), 'XX', t, ref)
  return {'draining', {}}
end
local gpus = ''
if offer then
  gpus = reserve(node, offer, uid, id, job)
  if not gpus then return {'no_room', {}} end
end

set_state(uid, id, job, 'starting')
redis.call('HSET', key, 'node', node, 'fence', tonumber(job.fence) + 1, 'claim', token,
  'claimed_at', stamp(t), 'gpus', gpus)
no_longer_dispatched(ref, job.compute, job.size)
redis.call('ZREM', K.ttl(), ref)
redis.call('ZADD', K.nodes(), 'NX', t, node) -- what holds a lease must be known, to be missed
redis.call('ZADD', K.leases(node), t + tonumber(lease), ref)
note(uid, id, 'starting')
if job.attempt == '1' and job.fence == '0' then observe('queue', t - tonumber(job.created_at)) end
return {'claimed', {}, redis.call('HGETALL', key)}
