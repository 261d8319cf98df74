-- Frees the slot of a final job whose container and spool are gone, and admits the next.
-- ARGV: uid, id, attempt, fence
-- Reads and writes job, leases, deadlines, slots, and what admit writes.
-- Returns {'released', hints} | {'stale', {}}. Repeated by the same holder: 'released' again, the
-- hints of the lost answer are the sweep's to publish.
write_even_if_full()
local uid, id, attempt, fence = unpack(ARGV)
local key = K.job(uid, id)
local job = fields(key, 'state', 'attempt', 'fence', 'teardown')
if unfinished(job.state) or not holds(job, attempt, fence) then return {'stale', {}} end
if not job.teardown then return {'released', {}} end
redis.call('HDEL', key, 'teardown')
leave_node(job.teardown, ref_of(uid, id))
redis.call('ZREM', K.deadlines(), ref_of(uid, id))
note(uid, id, 'released')
return {'released', free_slot(uid, id)}
