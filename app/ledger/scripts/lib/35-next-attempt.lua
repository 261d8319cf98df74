-- What a deployment's retry policy says about an attempt that ended so. `spec` is the decoded spec.
local function may_retry(spec, reason, attempt)
  local policy = spec.retry_policy
  if type(policy) ~= 'table' or tonumber(attempt) >= policy.max_attempts then return false end
  for _, one in ipairs(policy.on) do
    if one == reason then return true end
  end
  return false
end

-- Attempts that do not count may be many, on machines that fail for days.
local ATTEMPTS_KEPT, ENTRIES_KEPT = 100, 500

-- Forgets what a job's record says of one attempt.
local function clear_attempt(uid, id)
  redis.call('ZREM', K.deadlines(), ref_of(uid, id))
  redis.call('HDEL', K.job(uid, id), 'node', 'replica', 'claim', 'gpus', 'claimed_at', 'started_at',
    'sent_at', 'deadline_at', 'noted', 'abandoned', 'abandoned_detail', 'abandoned_counts')
end

-- Queues a job at the front once more, after an attempt that is over, and keeps what that came to.
-- One that counts is followed by the next attempt, and the job's TTL begins anew: the platform took
-- its time, not the job. One that does not count is the machine's fault alone; it is made again
-- under its number, with higher fences: or as the next one, within its TTL, where something of it
-- could not be removed (`counts` without `renews`).
-- Reads job; writes job, timeline, attempts, leases, deadlines, counts, and what put_back writes.
local function next_attempt(uid, id, reason, detail, counts, renews)
  local key, ref = K.job(uid, id), ref_of(uid, id)
  local job = fields(key, 'attempt', 'node', 'ttl', 'claimed_at', 'started_at', 'sent_at')
  redis.call('RPUSH', K.attempts(uid, id), cjson.encode({attempt = job.attempt, node = job.node,
    reason = reason, detail = detail, claimed_at = job.claimed_at, started_at = job.started_at,
    sent_at = job.sent_at, ended_at = stamp(now())}))
  redis.call('LTRIM', K.attempts(uid, id), -ATTEMPTS_KEPT, -1)
  redis.call('LTRIM', K.timeline(uid, id), -ENTRIES_KEPT, -1)
  leave_node(job.node, ref)
  clear_attempt(uid, id)
  if counts then
    redis.call('HSET', key, 'attempt', tonumber(job.attempt) + 1, 'fence', '0')
  end
  if renews then redis.call('HSET', key, 'expires_at', stamp(now() + tonumber(job.ttl))) end
  note(uid, id, 'queued', detail)
  put_back(uid, id)
  count('repeated|' .. reason)
end

-- What becomes of a job whose machine is lost, or of whose attempt nobody knows anything.
local function lose_attempt(uid, id, detail)
  local job = fields(K.job(uid, id), 'attempt', 'version', 'cancel', 'abandoned', 'abandoned_detail')
  local spec = spec_of(uid, job.version)
  if not job.cancel and job.abandoned then
    -- Under a new number: a replica of this one may still be there.
    next_attempt(uid, id, job.abandoned, job.abandoned_detail, true, true)
  elseif not job.cancel and spec and may_retry(spec, 'node_lost', job.attempt) then
    next_attempt(uid, id, 'node_lost', detail, true, true)
  else
    finish(uid, id, 'failed', 'node_lost', detail)
  end
end
