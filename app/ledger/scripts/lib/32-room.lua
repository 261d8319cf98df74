-- A machine takes no more than it has. What a replica may use is reserved for it at the claim, for as
-- long as its node holds the attempt (a lease) or may still run it (a stray).
--
-- A job that finds no room waits for it in line, with all others that could run on the machine, by
-- the instant of its dispatch. The first one that a machine could hold and has no room for now gets
-- its pledge: the machine lets nobody pass until there is room, so that small jobs don't starve a big
-- one. Other machines pass it over, unless they have room for it. A pledge is renewed whenever its
-- node looks, and void if it has not looked for a while.
local LINE_SCAN = 32 -- of each compute and size
local PLEDGE_SECONDS = 15

-- What a job needs by a node's offer.
local function need_of(offer, compute, size)
  local unit, times = offer.compute[compute], tonumber(size or 1)
  return {cpus = unit[1] * times, memory = unit[2] * times, gpus = unit[3] * times}
end

local function within(need, room)
  return need.cpus <= room.cpus and need.memory <= room.memory and need.gpus <= #room.gpus
end

-- Takes what is needed out of the room; returns the devices.
local function cut_from(room, need)
  local gpus = {}
  room.cpus, room.memory = room.cpus - need.cpus, room.memory - need.memory
  for _ = 1, need.gpus do gpus[#gpus + 1] = table.remove(room.gpus, 1) end
  return gpus
end

-- What a node has left of its offer.
local function room_of(node, offer)
  local room, used = {cpus = offer.cpus, memory = offer.memory, gpus = {}}, {}
  local reserved = redis.call('HVALS', K.reserved(node))
  for _, had in ipairs(reserved) do
    local cpus, memory, gpus = string.match(had, '^(%d+) (%d+) (.*)$')
    room.cpus, room.memory = room.cpus - tonumber(cpus), room.memory - tonumber(memory)
    for gpu in string.gmatch(gpus, '[^,]+') do used[gpu] = true end
  end
  for _, gpu in ipairs(offer.gpus) do
    if not used[gpu] then room.gpus[#room.gpus + 1] = gpu end
  end
  return room
end

-- Who waits for room and could run on a machine of this offer, first come first.
local function line_of(offer)
  local line = {}
  for compute in pairs(offer.compute) do
    for _, size in ipairs(redis.call('SMEMBERS', K.no_room_sizes(compute))) do
      local need = need_of(offer, compute, size)
      if within(need, offer) then
        local refs = redis.call('ZRANGE', K.no_room(compute, size), 0, LINE_SCAN - 1, 'WITHSCORES')
        for i = 1, #refs, 2 do
          line[#line + 1] = {ref = refs[i], since = tonumber(refs[i + 1]), need = need}
        end
      end
    end
  end
  table.sort(line, function(a, b)
    if a.since == b.since then return a.ref < b.ref end
    return a.since < b.since
  end)
  return line
end

-- Those in line that there is room for together, and no pledge in the way, up to `last` (a ref or nil).
local function fitting(node, line, room, last)
  local found = {}
  for _, one in ipairs(line) do
    local holder, at = string.match(redis.call('HGET', K.pledges(), one.ref) or '', '^(%S+) (%S+)$')
    if within(one.need, room) then
      one.gpus = cut_from(room, one.need)
      found[#found + 1] = one
      if one.ref == last then return found end
    elseif not holder or holder == node or tonumber(at) < now() - PLEDGE_SECONDS then
      redis.call('HSET', K.pledges(), one.ref, node .. ' ' .. stamp(now()))
      return found
    end
  end
  return found
end

-- Puts a job in line and, if it is its turn on this node, reserves what it needs. Returns its devices
-- (text, with commas), or nil if there is no room for it now.
local function reserve(node, offer, uid, id, job)
  local ref, size = ref_of(uid, id), job.size or '1'
  redis.call('ZADD', K.no_room(job.compute, size), 'NX', job.dispatched_at, ref)
  redis.call('SADD', K.no_room_sizes(job.compute), size)
  local found = fitting(node, line_of(offer), room_of(node, offer), ref)
  local last = found[#found]
  if not last or last.ref ~= ref then return nil end
  local gpus = table.concat(last.gpus, ',')
  redis.call('HSET', K.reserved(node), ref,
    string.format('%d %d %s', last.need.cpus, last.need.memory, gpus))
  return gpus
end
