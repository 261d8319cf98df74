-- What a node runs, after a recovery: attempts that the ledger has forgotten are its own again, and
-- what the ledger says of this node without there being anything of it has ended, nobody knows how.
-- Counts while the node is asked, once: of two workers of it the slower may have looked before the
-- other's report, and does not know what was claimed since.
-- ARGV: node, epoch, then for each replica: uid, id, attempt, what it has of the
--       node (see lib/32-room.lua; '' = nobody knows)
-- Whoever holds an attempt from before has lost it: fences begin anew, above all that were given.
-- Reads and writes job, leases, deadlines, queue, slots, ttl, dispatched, reserved, recovering, nodes, node, and
-- what clear_attempt, lose_attempt and admit write. Returns a flat list uid, id, compute, deployment.
-- Repeated: nothing, the hints of the lost answer are the sweep's to publish.
write_even_if_full()
local node, epoch = ARGV[1], tonumber(ARGV[2])
local fence, t, there, touched, hints = epoch * 1000000, now(), {}, {}, {}
if redis.call('SISMEMBER', K.recovering(), node) == 0
  or redis.call('HGET', K.ledger(), 'epoch') ~= ARGV[2] then return {} end

local function take(uid, id, attempt, room)
  local key, ref = K.job(uid, id), ref_of(uid, id)
  local job = fields(key, 'state', 'seq', 'attempt', 'compute', 'size', 'node')
  -- Removed as dangling, if the ledger does not know it, or knows a later attempt.
  if not job.state or tonumber(job.attempt) > attempt then return end
  there[ref] = true
  if not unfinished(job.state) then return end
  if job.node and job.node ~= node then leave_node(job.node, ref) end
  redis.call('ZREM', K.queue(uid), id)
  redis.call('ZREM', K.ttl(), ref)
  no_longer_dispatched(ref, job.compute, job.size)
  if redis.call('SADD', K.slots(uid), id) == 1 then
    -- It held none, so the version that it was queued with may be gone.
    redis.call('HSET', key, 'version', redis.call('HGET', K.deployment(uid), 'version'))
  end
  redis.call('ZADD', K.leases(node), t, ref)
  local later = tonumber(job.attempt) < attempt
  if later then clear_attempt(uid, id) end -- what is there is another one's
  redis.call('HSET', key, 'node', node, 'attempt', attempt)
  if room ~= '' then
    redis.call('HSET', K.reserved(node), ref, room)
    redis.call('HSET', key, 'gpus', string.match(room, '^%d+ %d+ (.*)$'))
  end
  if later or job.state == 'queued' or job.state == 'dispatched' then
    set_state(uid, id, job, 'starting')
    note(uid, id, 'recovered')
  end
end

local function settle(ref)
  local uid, id = split(ref)
  local job = fields(K.job(uid, id), 'state', 'node', 'teardown', 'fence')
  if there[ref] then
    if job.state and tonumber(job.fence) < fence then
      redis.call('HSET', K.job(uid, id), 'fence', fence)
    end
    return
  end
  leave_node(node, ref)
  if job.state and unfinished(job.state) then
    lose_attempt(uid, id, 'the ledger was restored from an older file; what became of the replica is not known')
  end
  redis.call('HDEL', K.job(uid, id), 'teardown')
  redis.call('ZREM', K.deadlines(), ref)
  leave_slot(uid, id)
  touched[uid] = true
end

for i = 3, #ARGV, 4 do take(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]) end
for _, ref in ipairs(redis.call('ZRANGE', K.leases(node), 0, -1)) do settle(ref) end
redis.call('SREM', K.recovering(), node)
-- A sign of life, or it would be lost at once that was away for long. Its identity may be that of an
-- earlier boot, and comes with its next sign.
redis.call('ZADD', K.nodes(), t, node)
redis.call('HDEL', K.node(node), 'identity')
for uid in pairs(touched) do append_hints(hints, uid, admit(uid)) end
return hints
