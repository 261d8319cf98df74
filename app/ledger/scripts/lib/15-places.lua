-- A dispatched job is claimed, goes back or ends: nobody need hint at it, or keep room for it.
local function no_longer_dispatched(ref, compute, size)
  redis.call('ZREM', K.dispatched(compute), ref)
  local line = K.no_room(compute, size or '1')
  if redis.call('ZREM', line, ref) == 0 then return end
  redis.call('HDEL', K.pledges(), ref)
  if redis.call('EXISTS', line) == 0 then redis.call('SREM', K.no_room_sizes(compute), size or '1') end
end

-- A node has done with an attempt: no lease, and no room reserved for it. Returns what it had.
local function leave_node(node, ref)
  redis.call('ZREM', K.leases(node), ref)
  local had = redis.call('HGET', K.reserved(node), ref)
  redis.call('HDEL', K.reserved(node), ref)
  return had
end
