-- Stores a new inference key: its name, and a hash of its secret.
-- ARGV: key id, name, hash, keys that there may be at most
-- Reads and writes inference_keys. Returns its entry, or false if there are that many.
-- Repeated: the same entry.
local id, name, hash, limit = unpack(ARGV)
if redis.call('HEXISTS', K.inference_keys(), id) == 0 then
  if redis.call('HLEN', K.inference_keys()) >= tonumber(limit) then return false end
  redis.call('HSET', K.inference_keys(), id,
    cjson.encode({name = name, sha256 = hash, created_at = stamp(now())}))
end
return redis.call('HGET', K.inference_keys(), id)
