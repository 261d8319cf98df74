-- Gives free slots to the jobs that wait longest, and returns their hints:
-- a flat list id, compute, deployment, id, compute, deployment, …
-- While a slot is free and the deployment runs: pop, drop what is past its TTL, dispatch.
-- While a recovery is under way nothing expires here: it may run, and be forgotten.
-- Reads strays, recovering; writes deployment, queue, slots, specs, older, ttl, dispatched, job,
-- in_state, admissions. Each call moves at most ADMIT_LIMIT jobs either way, so that no caller pays
-- for a long queue; the sweep goes on with the rest.
local ADMIT_LIMIT = 100

-- Whether this ledger may have forgotten what runs: see `recover`.
local function recovering()
  return redis.call('EXISTS', K.recovering()) == 1
end

-- Back to its own place in the queue, which is the front: it was accepted before all that wait.
local function put_back(uid, id)
  local key = K.job(uid, id)
  local job = fields(key, 'state', 'seq', 'expires_at', 'compute', 'size')
  set_state(uid, id, job, 'queued')
  redis.call('HDEL', key, 'dispatched_at')
  no_longer_dispatched(ref_of(uid, id), job.compute, job.size)
  redis.call('ZADD', K.ttl(), job.expires_at, ref_of(uid, id))
  redis.call('ZADD', K.queue(uid), job.seq, id)
  leave_slot(uid, id)
end

-- The deployment was changed: what was dispatched with an earlier spec, and not claimed, goes back, also
-- where nobody is left who could claim it. Says whether that was all.
local function call_back(uid)
  local ids = redis.call('ZRANGE', K.in_state(uid, 'dispatched'), 0, ADMIT_LIMIT - 1)
  for _, id in ipairs(ids) do put_back(uid, id) end
  if #ids == ADMIT_LIMIT then return false end
  redis.call('HDEL', K.deployment(uid), 'moving')
  return true
end

local function dispatch(uid, id, seq, deployment, t)
  local key = K.job(uid, id)
  redis.call('SADD', K.slots(uid), id)
  set_state(uid, id, {state = 'queued', seq = seq}, 'dispatched')
  redis.call('HSET', key, 'dispatched_at', stamp(t), 'version', deployment.version,
    'compute', deployment.compute, 'size', deployment.size or '1')
  redis.call('ZADD', K.dispatched(deployment.compute), t + tonumber(deployment.hint_seconds),
    ref_of(uid, id))
  note(uid, id, 'dispatched')
end

-- What an admission needs to know of its deployment.
local function admission_of(uid)
  return fields(K.deployment(uid), 'state', 'max_replica_count', 'version', 'compute',
    'size', 'hint_seconds', 'name', 'moving')
end

-- Who has read that already gives it along.
local function admit(uid, deployment)
  deployment = deployment or admission_of(uid)
  local hints, t, popped = {}, now(), 0
  if deployment.state ~= 'running' then return hints end
  if deployment.moving and not call_back(uid) then
    redis.call('SADD', K.admissions(), uid)
    return hints
  end
  local free = tonumber(deployment.max_replica_count) - taken(uid)
  while free > 0 and popped < ADMIT_LIMIT do
    local id, seq = unpack(redis.call('ZPOPMIN', K.queue(uid)))
    if not id then return hints end
    popped = popped + 1
    local expires_at = tonumber(redis.call('HGET', K.job(uid, id), 'expires_at') or 0)
    if expires_at <= t and not recovering() then
      finish(uid, id, 'expired', 'queue_ttl', 'waited longer than its TTL allows')
    else
      dispatch(uid, id, seq, deployment, t)
      hints[#hints + 1], hints[#hints + 2], hints[#hints + 3] = id, deployment.compute,
        deployment.name
      free = free - 1
    end
  end
  -- Whoever waits behind the bound would else wait for the next job that comes or goes.
  if free > 0 then redis.call('SADD', K.admissions(), uid) end
  return hints
end

local function free_slot(uid, id)
  leave_slot(uid, id)
  return admit(uid)
end
