-- What is told of some deployments. A bounded number of them: all at once would stall the others.
-- ARGV: uids
-- Reads deployment, queue, slots, due_strays, strays, the first job of the queue, dispatched. Writes
-- nothing.
-- Returns {now, {name, state, compute, max_replica_count, waiting, slots, strays, since when the
-- first of the queue waits ('' = none does)} for each, flat list compute, unclaimed jobs}.
local found, seen, unclaimed = {}, {}, {}
local any_strays = redis.call('EXISTS', K.due_strays()) == 1
for _, uid in ipairs(ARGV) do
  local deployment = fields(K.deployment(uid), 'name', 'state', 'compute', 'max_replica_count')
  if deployment.name then
    local compute, first = deployment.compute, redis.call('ZRANGE', K.queue(uid), 0, 0)[1]
    local waiting = first and redis.call('ZCARD', K.queue(uid)) or 0
    local since = first and redis.call('HGET', K.job(uid, first), 'created_at') or ''
    found[#found + 1] = {deployment.name, deployment.state, compute, deployment.max_replica_count,
      waiting, redis.call('SCARD', K.slots(uid)),
      any_strays and redis.call('SCARD', K.strays(uid)) or 0, since}
    if not seen[compute] then
      seen[compute] = true
      unclaimed[#unclaimed + 1] = compute
      unclaimed[#unclaimed + 1] = redis.call('ZCARD', K.dispatched(compute))
    end
  end
end
return {stamp(now()), found, unclaimed}
