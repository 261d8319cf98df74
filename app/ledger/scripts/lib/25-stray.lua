-- A stray is a replica that a lost node may still run: nobody can look. It keeps its slot until its
-- deadline has passed for certain, its node is back and has removed it, or the node is forgotten.
-- `had` is the room that it has of its node: see lib/32-room.lua.
local function keep_stray(node, uid, id, attempt, ends, had)
  local name = id .. '#' .. attempt
  if had then redis.call('HSET', K.reserved(node), uid .. '/' .. name, had) end
  redis.call('SADD', K.strays(uid), name)
  redis.call('SADD', K.node_strays(node), uid .. '/' .. name)
  redis.call('ZADD', K.due_strays(), ends, node .. '/' .. uid .. '/' .. name)
end

local function drop_stray(node, uid, id, attempt)
  local name = id .. '#' .. attempt
  redis.call('ZREM', K.due_strays(), node .. '/' .. uid .. '/' .. name)
  redis.call('SREM', K.node_strays(node), uid .. '/' .. name)
  redis.call('HDEL', K.reserved(node), uid .. '/' .. name)
  local dropped = redis.call('SREM', K.strays(uid), name) == 1
  if dropped then count('swept|stray_freed') end
  return dropped
end

-- Takes an attempt, whose lease is given up, from the machine that has it. It may still run
-- the replica: unless `slots` are to be 'freed' at once, that becomes a stray. `job` has its attempt
-- and its version. Its slot is the caller's to give up, when it needs the spec no more.
local function take_from(node, uid, id, job, grace, slots)
  local ref = ref_of(uid, id)
  local ends = redis.call('ZSCORE', K.deadlines(), ref)
  if not ends then
    -- One that has not started may do so until its supervisor hears that it lost it.
    local spec = spec_of(uid, job.version)
    ends = now() + (spec and spec.scaling.deadline_seconds or 0)
  end
  redis.call('ZREM', K.deadlines(), ref)
  local had = leave_node(node, ref)
  if slots == 'kept' then
    keep_stray(node, uid, id, job.attempt, tonumber(ends) + tonumber(grace), had)
  end
end

-- How many slots of a deployment are taken.
local function taken(uid)
  return redis.call('SCARD', K.slots(uid)) + redis.call('SCARD', K.strays(uid))
end

-- Hints of one deployment (id, compute, name, …) as hints that name it, at the end of a list.
local function append_hints(hints, uid, admitted)
  for i = 1, #admitted, 3 do
    hints[#hints + 1], hints[#hints + 2] = uid, admitted[i]
    hints[#hints + 1], hints[#hints + 2] = admitted[i + 1], admitted[i + 2]
  end
end
