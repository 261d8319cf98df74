-- Lets a lease lapse at once, so that another worker of the node takes the attempt over.
-- ARGV: uid, id, node, attempt, fence
-- Reads job; writes leases. Returns 'done' | 'stale'.
write_even_if_full()
local uid, id, node, attempt, fence = unpack(ARGV)
local job = fields(K.job(uid, id), 'attempt', 'fence', 'node')
if job.node ~= node or not holds(job, attempt, fence) then return 'stale' end
redis.call('ZADD', K.leases(node), 'XX', now(), ref_of(uid, id))
return 'done'
