-- Names dispatched jobs whose message seems lost, and puts off their next hint.
-- ARGV: compute, its Celery queue, hint seconds, limit
-- A message seems lost only where fewer lie in the queue than jobs wait for a claim, and the
-- job's last hint is old: so a busy machine's queue is never flooded.
-- Reads the Celery queue, job; writes dispatched, counts.
-- Returns a flat list uid, id, compute, deployment.
write_even_if_full()
local compute, celery_queue, seconds, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local key, t, hints = K.dispatched(compute), now(), {}
local missing = redis.call('ZCARD', key) - redis.call('LLEN', celery_queue)
if missing <= 0 then return hints end
local due = redis.call('ZRANGEBYSCORE', key, '-inf', t, 'LIMIT', 0, math.min(limit, missing))
for _, ref in ipairs(due) do
  local uid, id = split(ref)
  local name = redis.call('HGET', K.job(uid, id), 'deployment')
  if name then
    redis.call('ZADD', key, t + seconds, ref)
    hints[#hints + 1], hints[#hints + 2] = uid, id
    hints[#hints + 1], hints[#hints + 2] = compute, name
  else
    redis.call('ZREM', key, ref)
  end
end
if #hints > 0 then count('swept|hint_repeated', #hints / 4) end
return hints
