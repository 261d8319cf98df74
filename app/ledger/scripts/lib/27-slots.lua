-- A job gives its slot back, and with it the version of the spec that it got it with. An earlier version
-- is kept as long as some hold it: `older` counts them, but not those with the current one.
-- Whoever needs the job's spec reads it before.
local function leave_slot(uid, id)
  if redis.call('SREM', K.slots(uid), id) == 0 then return end
  local version = redis.call('HGET', K.job(uid, id), 'version')
  if not version or redis.call('HEXISTS', K.older(uid), version) == 0 then return end
  if redis.call('HINCRBY', K.older(uid), version, -1) > 0 then return end
  redis.call('HDEL', K.older(uid), version)
  redis.call('HDEL', K.specs(uid), version)
end
