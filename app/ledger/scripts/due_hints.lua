-- Names dispatched jobs whose message seems lost, and puts off their next hint.
-- ARGV: compute, its Celery queue, hint seconds, limit
-- A message seems lost only where fewer lie in the queue than jobs wait for a claim, and the
-- job's last hint is old: so a busy machine's queue is never flooded.
-- Who stands in line for room is told of it on a node's own queue (`fill_room`), and does not count.
-- Reads the Celery queue, job, no_room; writes dispatched, counts.
-- Returns a flat list uid, id, compute, deployment.
write_even_if_full()
local compute, celery_queue, seconds, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local key, t, hints = K.dispatched(compute), now(), {}
local missing = redis.call('ZCARD', key) - redis.call('LLEN', celery_queue)
for _, size in ipairs(redis.call('SMEMBERS', K.no_room_sizes(compute))) do
  missing = missing - redis.call('ZCARD', K.no_room(compute, size))
end
if missing <= 0 then return hints end
local due = redis.call('ZRANGEBYSCORE', key, '-inf', t, 'LIMIT', 0, limit)
for _, ref in ipairs(due) do
  if #hints / 4 == missing then break end
  local uid, id = split(ref)
  local job = fields(K.job(uid, id), 'deployment', 'size')
  local name = job.deployment
  if name and redis.call('ZSCORE', K.no_room(compute, job.size or '1'), ref) then
    redis.call('ZADD', key, t + seconds, ref)
  elseif name then
    redis.call('ZADD', key, t + seconds, ref)
    hints[#hints + 1], hints[#hints + 2] = uid, id
    hints[#hints + 1], hints[#hints + 2] = compute, name
  else
    redis.call('ZREM', key, ref)
  end
end
if #hints > 0 then count('swept|hint_repeated', #hints / 4) end
return hints
