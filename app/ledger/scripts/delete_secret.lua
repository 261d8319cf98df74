-- Forgets a secret, unless a deployment refers to it: in its spec, or in an earlier version that a
-- job still holds a slot with. Deployments that are being deleted start nothing more.
-- ARGV: kind, name, force (0 | 1)
-- Reads deployments, deployment, specs; writes secrets.
-- Returns {'done'} | {'missing'} | {'used', name of a deployment, …}.
-- Repeated: 'missing', which is what it is.
write_even_if_full()
local kind, name, force = unpack(ARGV)
local quoted = cjson.encode(name)

local function env_has(container)
  for _, variable in ipairs(container.env) do
    if variable.type == 'secret' and variable.value_or_reference_to_secret == name then return true end
  end
end

local function mounts_have(container)
  for _, mount in ipairs(container.volume_mounts) do
    if mount.type == 'secret' and mount.secret_name == name then return true end
  end
end

local function refers(spec)
  if not string.find(spec, quoted, 1, true) then return false end -- most need not be decoded
  local decoded = cjson.decode(spec)
  if kind == 'secret' then return env_has(decoded.containers[1]) end
  if kind == 'file-secret' then return mounts_have(decoded.containers[1]) end
  local credentials = decoded.container_registry_settings.credentials
  return type(credentials) == 'table' and credentials.name == name
end

local function uses(uid)
  if redis.call('HGET', K.deployment(uid), 'state') == 'terminating' then return false end
  for _, spec in ipairs(redis.call('HVALS', K.specs(uid))) do
    if refers(spec) then return true end
  end
  return false
end

if redis.call('HEXISTS', K.secrets(kind), name) == 0 then return {'missing'} end
local answer = {'used'}
if force ~= '1' then
  for _, uid in ipairs(redis.call('HVALS', K.deployments())) do
    if uses(uid) then answer[#answer + 1] = redis.call('HGET', K.deployment(uid), 'name') end
  end
end
if #answer > 1 then return answer end
redis.call('HDEL', K.secrets(kind), name)
return {'done'}
