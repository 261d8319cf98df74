-- Frees the slots of strays whose deadline has passed for certain.
-- ARGV: limit
-- Reads due_strays; writes what drop_stray and admit write.
-- Returns {1 if there may be more, flat list uid, id, compute, deployment}.
write_even_if_full()
local limit, hints, freed = tonumber(ARGV[1]), {}, {}
local due = redis.call('ZRANGEBYSCORE', K.due_strays(), '-inf', now(), 'LIMIT', 0, limit)
for _, member in ipairs(due) do
  local node, uid, id, attempt = string.match(member, '^([^/]+)/([^/]+)/(.+)#(%d+)$')
  drop_stray(node, uid, id, attempt)
  freed[uid] = true
end
for uid in pairs(freed) do append_hints(hints, uid, admit(uid)) end
return {#due == limit and 1 or 0, hints}
