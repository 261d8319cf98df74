-- Ends what a node held that has been silent for too long, a bounded part of it.
-- ARGV: node, node timeout in seconds, grace in seconds, what becomes of the slots ('kept' | 'freed'),
--       limit
-- Each of its jobs fails as node_lost, or is queued for its next attempt where the deployment's
-- retry policy says so, or this attempt was given up already. The node may still run the replicas:
-- they become strays, unless slots are to be freed at once. A machine that is only cut off finds the
-- jobs in other hands.
-- Reads nodes, leases, job; writes counts, and what take_from, lose_attempt and admit write.
-- Returns {1 if there may be more, flat list uid, id, compute, deployment}.
write_even_if_full()
local node, timeout, grace, slots, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4],
  tonumber(ARGV[5])
local t, hints, touched = now(), {}, {}
local last = redis.call('ZSCORE', K.nodes(), node)
if last and tonumber(last) > t - timeout then return {0, hints} end

local function over(uid, id, job)
  local detail = string.format('its machine has been silent for %d s', t - tonumber(last or t))
  if unfinished(job.state) then return lose_attempt(uid, id, detail) end
  redis.call('HDEL', K.job(uid, id), 'teardown')
  note(uid, id, 'node_lost', detail)
end

local function lose(ref)
  local uid, id = split(ref)
  local job = fields(K.job(uid, id), 'state', 'node', 'attempt', 'fence', 'teardown', 'version')
  local holder = job.state and (unfinished(job.state) and job.node or job.teardown)
  if holder ~= node then
    leave_node(node, ref)
    return
  end
  take_from(node, uid, id, job, grace, slots)
  redis.call('HSET', K.job(uid, id), 'fence', tonumber(job.fence) + 1) -- nobody holds it any more
  over(uid, id, job)
  leave_slot(uid, id) -- last: with it the spec may go that says what follows
  touched[uid] = true
  count('swept|attempt_lost')
end

local refs = redis.call('ZRANGE', K.leases(node), 0, limit - 1)
for _, ref in ipairs(refs) do lose(ref) end
for uid in pairs(touched) do append_hints(hints, uid, admit(uid)) end
return {#refs == limit and 1 or 0, hints}
