-- Names the attempts of a node whose lease has lapsed: each gets a hint on the node's own queue.
-- ARGV: node, the node's Celery queue, limit
-- Hints that are still in that queue count: it never holds more than there are lapsed attempts,
-- nor more than `limit`.
-- Reads leases, job, the Celery queue; writes leases.
-- Returns a flat list uid, id, compute, deployment.
local node, celery_queue, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key, t, hints = K.leases(node), now(), {}
local room = math.min(limit, redis.call('ZCOUNT', key, '-inf', t)) - redis.call('LLEN', celery_queue)
if room <= 0 then return hints end
for _, ref in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', t, 'LIMIT', 0, room)) do
  local uid, id = split(ref)
  local job = fields(K.job(uid, id), 'deployment', 'compute')
  if job.deployment then
    hints[#hints + 1], hints[#hints + 2] = uid, id
    hints[#hints + 1], hints[#hints + 2] = job.compute, job.deployment
  else
    leave_node(node, ref)
  end
end
return hints
