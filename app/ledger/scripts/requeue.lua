-- Queues an attempt again that provably ended before its request was sent: next attempt, at the
-- front. Its container and spool are gone already, so a cancel that was asked for ends it here.
-- ARGV: uid, id, attempt, fence, detail
-- Reads job; writes job, timeline, leases, deadlines, and what finish and admit write.
-- Returns {'queued', hints} | {'cancelled', hints} | {'stale', {}}. Repeated by the same holder:
-- 'queued' again, the hints of the lost answer are the sweep's to publish.
write_even_if_full()
local uid, id, attempt, fence, detail = unpack(ARGV)
local key, ref = K.job(uid, id), ref_of(uid, id)
local grip = attempt .. '.' .. fence
local job = fields(key, 'state', 'attempt', 'fence', 'node', 'ttl', 'cancel', 'requeued_by')
if job.requeued_by == grip then return {'queued', {}} end
if job.state ~= 'starting' or not holds(job, attempt, fence) then return {'stale', {}} end
redis.call('ZREM', K.leases(job.node), ref)
redis.call('HSET', key, 'requeued_by', grip)
if job.cancel then
  finish(uid, id, 'cancelled', job.cancel, 'cancelled before it started')
  return {'cancelled', free_slot(uid, id)}
end
redis.call('HDEL', key, 'node', 'replica', 'claim', 'claimed_at', 'started_at', 'deadline_at')
-- The platform took its time, not the job: its TTL begins anew.
redis.call('HSET', key, 'attempt', tonumber(attempt) + 1, 'fence', '0',
  'expires_at', stamp(now() + tonumber(job.ttl)))
redis.call('ZREM', K.deadlines(), ref)
note(uid, id, 'queued', detail)
put_back(uid, id)
return {'queued', admit(uid)}
