-- Counts an end, and how long all of it took where the app had its request.
local function count_end(state, reason, job, more, t)
  count('ended|' .. state .. '|' .. reason)
  if not job.sent_at then return end
  local most = t - tonumber(job.created_at)
  observe('job', most)
  observe('run', lasted(job.sent_at, more.exited_at or t, most))
  if more.response_size then observe('result', tonumber(more.response_size)) end
end

-- A job's one way into a final state. `more` are further fields (a table or nil).
-- Writes job, in_state, timeline, ttl, deadlines, dispatched, no_room, retention, counts; sets the
-- payload's end of life. Leaves the slot alone: that is freed when no container is left.
local function finish(uid, id, state, reason, detail, more)
  local key, ref, t = K.job(uid, id), ref_of(uid, id), now()
  local job = fields(key, 'state', 'seq', 'compute', 'size', 'payload', 'record_retention',
    'result_retention', 'created_at', 'sent_at')
  if not job.payload then return end -- no record: half of one would never be forgotten
  local result_ends = t + tonumber(job.result_retention)
  local final = {'reason', reason, 'detail', detail, 'finished_at', stamp(t), 'result_expires_at',
    stamp(result_ends)}
  for name, value in pairs(more or {}) do
    final[#final + 1], final[#final + 2] = name, value
  end
  set_state(uid, id, job, state)
  redis.call('HSET', key, unpack(final))
  redis.call('HDEL', key, 'cancel', 'noted', 'abandoned', 'abandoned_detail', 'abandoned_counts')
  redis.call('ZREM', K.ttl(), ref)
  -- As long as the container has to go: should its machine be lost, the slot is freed by that.
  if not (more and more.teardown) then redis.call('ZREM', K.deadlines(), ref) end
  no_longer_dispatched(ref, job.compute, job.size)
  redis.call('ZADD', K.retention(), t + tonumber(job.record_retention), ref)
  redis.call('EXPIREAT', K.payload(job.payload), math.ceil(result_ends))
  if more and more.response then
    redis.call('EXPIREAT', K.payload(more.response), math.ceil(result_ends))
  end
  note(uid, id, state, detail)
  count_end(state, reason, job, more or {}, t)
end
