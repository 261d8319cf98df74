-- Replaces a sealed value by the same under another key, if it is still the one that was opened.
-- ARGV: kind, name, sealed value, the same sealed anew
-- Reads and writes secrets. Returns 'done' | 'changed'. Repeated: 'changed', and nothing more is done.
local kind, name, sealed, anew = unpack(ARGV)
local there = redis.call('HGET', K.secrets(kind), name)
local entry = there and cjson.decode(there)
if not entry or entry.sealed ~= sealed then return 'changed' end
entry.sealed = anew
redis.call('HSET', K.secrets(kind), name, cjson.encode(entry))
return 'done'
