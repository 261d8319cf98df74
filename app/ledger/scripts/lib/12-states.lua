-- A job's state. Its jobs stand by state in the order of acceptance, so that a list of some need not
-- look at all of them: those that are queued in the queue, which is not written here.
-- `job`: its `state` so far and its `seq`. Writes job, in_state.
local function set_state(uid, id, job, state)
  if job.state ~= state then
    if job.state ~= 'queued' then redis.call('ZREM', K.in_state(uid, job.state), id) end
    if state ~= 'queued' then redis.call('ZADD', K.in_state(uid, state), job.seq, id) end
  end
  redis.call('HSET', K.job(uid, id), 'state', state)
end
