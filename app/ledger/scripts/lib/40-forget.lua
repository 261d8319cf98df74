-- Deletes a final job: its record, its timeline and what is left of its payloads.
local function forget(uid, id)
  local job = fields(K.job(uid, id), 'state', 'payload', 'response', 'log')
  if job.payload then redis.call('UNLINK', K.payload(job.payload)) end
  if job.response then redis.call('UNLINK', K.payload(job.response)) end
  if job.log then redis.call('UNLINK', K.payload(job.log)) end
  redis.call('UNLINK', K.job(uid, id), K.timeline(uid, id), K.attempts(uid, id), K.live(uid, id))
  redis.call('ZREM', K.retention(), ref_of(uid, id))
  redis.call('ZREM', K.jobs(uid), id)
  if job.state then redis.call('ZREM', K.in_state(uid, job.state), id) end
end
