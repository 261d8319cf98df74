-- Says that somebody wants the output of jobs, and tells how far their workers have told it.
-- ARGV: uid, how many bytes of each at most (its last), for how many seconds they are wanted, seconds
--       for what was told to live on, id, id, …
-- Reads job, live; writes what lib/want says.
-- Returns for each job, in order: false if it is gone, or {state, node that tears it down or '', token
-- of its kept log or '', that log's size or '', attempt, replica or '', when that was started or '',
-- seconds since the last look at what it printed or ''}. A look that told less than is wanted is none.
local uid, bytes, seconds, ttl = unpack(ARGV, 1, 4)
local words = {}
for i = 5, #ARGV do
  local id = ARGV[i]
  local job = fields(K.job(uid, id), 'state', 'teardown', 'log', 'log_size', 'attempt', 'replica',
    'started_at')
  local word = false
  if job.state then
    want(uid, id, job.state, bytes, seconds, ttl)
    local live = fields(K.live(uid, id), 'attempt', 'looked', 'reach')
    local looked = live.attempt == job.attempt and reaches(live, bytes) and live.looked
    local since = looked and string.format('%.3f', now() - tonumber(looked)) or ''
    word = {job.state, job.teardown or '', job.log or '', job.log_size or '', job.attempt,
      job.replica or '', job.started_at or '', since}
  end
  words[#words + 1] = word
end
return words
