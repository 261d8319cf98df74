-- Leaves what there is of an attempt that is over to its engine, which is out of reach for too long.
-- A final job is done with then. The job of an attempt that was given up is queued again, under a new
-- number, since what is there of this one may come to light; one that does not count keeps its TTL,
-- which is its bound. A cancel that was asked for ends it here.
-- ARGV: uid, id, attempt, fence, grace in seconds, slots ('kept': the replica may still run, and
--       becomes a stray | 'freed'), detail
-- Reads job; writes timeline, and what take_from, next_attempt, finish and admit write.
-- Returns {'left', hints} | {'stale', {}}. Repeated by the same holder: 'left' again, the hints of
-- the lost answer are the sweep's to publish.
write_even_if_full()
local uid, id, attempt, fence, grace, slots, detail = unpack(ARGV)
local key = K.job(uid, id)
local grip = attempt .. '.' .. fence
local job = fields(key, 'state', 'attempt', 'fence', 'version', 'node', 'teardown', 'cancel',
  'requeued_by', 'abandoned', 'abandoned_detail', 'abandoned_counts')
if job.requeued_by == grip then return {'left', {}} end
if not job.state or not holds(job, attempt, fence) then return {'stale', {}} end
local open = unfinished(job.state)
if open and not job.abandoned then return {'stale', {}} end
if not open and not job.teardown then return {'left', {}} end

take_from(open and job.node or job.teardown, uid, id, job, grace, slots)
if not open then
  redis.call('HDEL', key, 'teardown')
  note(uid, id, 'left', detail)
elseif job.cancel then
  finish(uid, id, 'cancelled', job.cancel, 'cancelled before it started again')
else
  redis.call('HSET', key, 'requeued_by', grip)
  next_attempt(uid, id, job.abandoned, job.abandoned_detail, true, job.abandoned_counts == '1')
end
return {'left', free_slot(uid, id)}
