-- Names the jobs that wait for room and can have it on this node now: each gets a hint on the node's
-- own queue.
-- ARGV: node, the node's Celery queue, offer (JSON)
-- While hints lie in that queue there are no more: they would be the same.
-- Reads no_room, reserved, job, the Celery queue; writes pledges.
-- Returns {1 if some wait for room here, flat list uid, id, compute, deployment}.
write_even_if_full()
local node, celery_queue, offer = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local room, line, hints = room_of(node, offer), line_of(offer), {}
if #line == 0 then return {0, hints} end
if redis.call('LLEN', celery_queue) > 0 then return {1, hints} end
for _, one in ipairs(fitting(node, line, room)) do
  local uid, id = split(one.ref)
  local job = fields(K.job(uid, id), 'compute', 'deployment')
  if job.deployment then -- else an older version's, or a hand's, that left the line unmended
    hints[#hints + 1], hints[#hints + 2] = uid, id
    hints[#hints + 1], hints[#hints + 2] = job.compute, job.deployment
  end
end
return {1, hints}
