-- Renews the leases that a worker holds, all in one call, and tells what it must know of each.
-- ARGV: node, lease seconds, then for each attempt: uid, id, attempt, fence
-- Reads job, followed, live; writes leases.
-- Returns for each attempt, in order: 'held' | 'followed <n>' (held, and somebody follows its output, who
-- wants its last n bytes) | 'lost' | the reason of a requested cancel, with ' followed <n>' behind it
-- likewise.
write_even_if_full()
local node, lease = ARGV[1], tonumber(ARGV[2])
local t, answers = now(), {}
local any = redis.call('EXISTS', K.followed()) == 1

local function followed(uid, id)
  if not any or tonumber(redis.call('ZSCORE', K.followed(), ref_of(uid, id)) or 0) <= t then return end
  -- Who does not say how much wants all: an API from before wishes had a size.
  return 'followed ' .. (redis.call('HGET', K.live(uid, id), 'wished') or '2147483648')
end

for i = 3, #ARGV, 4 do
  local uid, id, attempt, fence = unpack(ARGV, i, i + 3)
  local job = fields(K.job(uid, id), 'attempt', 'fence', 'node', 'cancel')
  if job.node == node and holds(job, attempt, fence) then
    redis.call('ZADD', K.leases(node), 'XX', t + lease, ref_of(uid, id))
    local wish = followed(uid, id)
    answers[#answers + 1] = job.cancel and job.cancel .. (wish and ' ' .. wish or '')
      or wish or 'held'
  else
    answers[#answers + 1] = 'lost'
  end
end
return answers
