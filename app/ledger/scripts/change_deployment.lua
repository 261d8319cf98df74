-- Gives a deployment its next spec, if the one that it was made from is still the current one. Claimed
-- jobs keep theirs; those that are only dispatched go back to the queue, if that is asked for.
-- ARGV: uid, version of the spec that it was made from, spec, compute, size, max_replica_count,
--       whether the image is another one, whether dispatched jobs go back (0 | 1), versions that are
--       kept at most, change token
-- Reads slots; writes deployment, specs, older, and what admit writes.
-- Returns {'done', hints, deployment record} | {'outdated'} | {'terminating'} | {'missing'}
--       | {'many'} (jobs of so many earlier versions hold a slot).
-- Repeated with the same token: 'done' again, as long as nobody has changed it since.
local uid, base, spec, compute, size, cap, new_image, sends_back, limit, token = unpack(ARGV)
local key = K.deployment(uid)
local deployment = fields(key, 'state', 'version', 'change')
local version = string.format('%d', tonumber(base) + 1)
if not deployment.state then return {'missing'} end
if deployment.state == 'terminating' then return {'terminating'} end

local function change()
  local users = redis.call('SCARD', K.slots(uid))
  for _, some in ipairs(redis.call('HVALS', K.older(uid))) do users = users - tonumber(some) end
  redis.call('HSET', K.specs(uid), version, spec)
  if users > 0 then
    redis.call('HSET', K.older(uid), base, users)
  else
    redis.call('HDEL', K.specs(uid), base)
  end
  redis.call('HSET', key, 'version', version, 'change', token, 'compute', compute, 'size', size,
    'max_replica_count', cap)
  if new_image == '1' then redis.call('HSET', key, 'image_updated_at', stamp(now())) end
  if sends_back == '1' then redis.call('HSET', key, 'moving', '1') end
end

if deployment.change ~= token then
  if deployment.version ~= base then return {'outdated'} end
  if redis.call('HLEN', K.older(uid)) >= tonumber(limit) then return {'many'} end
  change()
end
return {'done', admit(uid), deployment_record(uid)}
