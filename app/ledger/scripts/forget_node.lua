-- Forgets a node that is silent and holds no attempt any more: an operator says that it runs nothing.
-- ARGV: node, silent seconds, limit
-- Reads nodes, leases; writes what drop_stray and admit write; deletes nodes, node,
-- recovering.
-- Returns {'forgotten' | 'more' (call again) | 'alive' | 'holds' (its attempts must be lost first),
-- flat list uid, id, compute, deployment}.
write_even_if_full()
local node, silent, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local last = redis.call('ZSCORE', K.nodes(), node)
if last and tonumber(last) > now() - silent then return {'alive', {}} end
if redis.call('EXISTS', K.leases(node)) == 1 then return {'holds', {}} end
local hints, freed = {}, {}
for _, ref in ipairs(redis.call('SRANDMEMBER', K.node_strays(node), limit)) do
  local uid, id, attempt = string.match(ref, '^([^/]+)/(.+)#(%d+)$')
  drop_stray(node, uid, id, attempt)
  freed[uid] = true
end
for uid in pairs(freed) do append_hints(hints, uid, admit(uid)) end
if redis.call('EXISTS', K.node_strays(node)) == 1 then return {'more', hints} end
redis.call('ZREM', K.nodes(), node)
redis.call('DEL', K.node(node), K.reserved(node))
redis.call('SREM', K.recovering(), node)
return {'forgotten', hints}
