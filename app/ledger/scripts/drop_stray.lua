-- Frees the slot of a stray whose replica is gone for certain, and notes what was found of it.
-- ARGV: node, uid, id, attempt, what was found
-- Writes what drop_stray and admit write, and timeline. Returns hints. Repeated: none.
write_even_if_full()
local node, uid, id, attempt, found = unpack(ARGV)
if not drop_stray(node, uid, id, attempt) then return {} end
if redis.call('EXISTS', K.job(uid, id)) == 1 then note(uid, id, 'late', found) end
return admit(uid)
