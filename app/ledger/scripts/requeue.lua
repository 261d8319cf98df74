-- Queues a job again whose attempt was abandoned, now that its container and spool are gone.
-- ARGV: uid, id, attempt, fence
-- Reads job; writes what next_attempt, finish and admit write. A cancel that was asked for ends the
-- job here.
-- Returns {'queued', hints} | {'cancelled', hints} | {'stale', {}}. Repeated by the same holder:
-- 'queued' again, the hints of the lost answer are the sweep's to publish.
write_even_if_full()
local uid, id, attempt, fence = unpack(ARGV)
local key = K.job(uid, id)
local grip = attempt .. '.' .. fence
local job = fields(key, 'attempt', 'fence', 'node', 'cancel', 'requeued_by', 'abandoned',
  'abandoned_detail', 'abandoned_counts')
if job.requeued_by == grip then return {'queued', {}} end
if not job.abandoned or not holds(job, attempt, fence) then return {'stale', {}} end
redis.call('HSET', key, 'requeued_by', grip)
if job.cancel then
  leave_node(job.node, ref_of(uid, id))
  finish(uid, id, 'cancelled', job.cancel, 'cancelled before it started again')
  return {'cancelled', free_slot(uid, id)}
end
local counts = job.abandoned_counts == '1'
next_attempt(uid, id, job.abandoned, job.abandoned_detail, counts, counts)
return {'queued', admit(uid)}
