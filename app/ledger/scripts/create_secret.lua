-- Stores a sealed value unless its name is taken.
-- ARGV: kind, name, sealed value, what may be listed (JSON), creation token, most of a kind
-- Reads and writes secrets. Returns {'done', entry} | {'taken'} | {'many'}.
-- Repeated with the same token: 'done' again.
local kind, name, sealed, facts, token, limit = unpack(ARGV)
local key = K.secrets(kind)
local there = redis.call('HGET', key, name)
if there and cjson.decode(there).token ~= token then return {'taken'} end
if not there then
  if redis.call('HLEN', key) >= tonumber(limit) then return {'many'} end
  there = cjson.encode({sealed = sealed, facts = facts, token = token, created_at = stamp(now())})
  redis.call('HSET', key, name, there)
end
return {'done', there}
