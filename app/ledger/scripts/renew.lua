-- Renews the leases that a worker holds, all in one call, and tells what it must know of each.
-- ARGV: node, lease seconds, then for each attempt: uid, id, attempt, fence
-- Reads job; writes leases.
-- Returns for each attempt, in order: 'held' | 'lost' | the reason of a requested cancel.
write_even_if_full()
local node, lease = ARGV[1], tonumber(ARGV[2])
local t, answers = now(), {}
for i = 3, #ARGV, 4 do
  local uid, id, attempt, fence = unpack(ARGV, i, i + 3)
  local job = fields(K.job(uid, id), 'attempt', 'fence', 'node', 'cancel')
  if job.node == node and holds(job, attempt, fence) then
    redis.call('ZADD', K.leases(node), 'XX', t + lease, ref_of(uid, id))
    answers[#answers + 1] = job.cancel or 'held'
  else
    answers[#answers + 1] = 'lost'
  end
end
return answers
