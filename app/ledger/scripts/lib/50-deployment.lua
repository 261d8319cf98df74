-- A deployment's record: {its hash as a flat list, its spec (JSON) in the current version};
-- false if there is none. Reads deployments, deployment, specs.
local function deployment_record(uid)
  local version = redis.call('HGET', K.deployment(uid), 'version')
  if not version then return false end
  return {redis.call('HGETALL', K.deployment(uid)), redis.call('HGET', K.specs(uid), version)}
end

local function deployment_named(name)
  local uid = redis.call('HGET', K.deployments(), name)
  return uid and deployment_record(uid)
end
