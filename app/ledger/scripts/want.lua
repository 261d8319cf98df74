-- Says that somebody wants the output of jobs, and tells how far their workers have told it.
-- ARGV: uid, for how many seconds it is wanted, seconds for what was told to live on, id, id, …
-- Reads job, live; writes what lib/want says.
-- Returns for each job, in order: false if it is gone, or {state, node that tears it down or '', token
-- of its kept log or '', that log's size or '', seconds since the last look at what its attempt printed
-- or ''}.
local uid, seconds, ttl = unpack(ARGV, 1, 3)
local words = {}
for i = 4, #ARGV do
  local id = ARGV[i]
  local job, word = fields(K.job(uid, id), 'state', 'teardown', 'log', 'log_size', 'attempt'), false
  if job.state then
    want(uid, id, job.state, seconds, ttl)
    local live = fields(K.live(uid, id), 'attempt', 'looked')
    local looked = live.attempt == job.attempt and live.looked
    local since = looked and string.format('%.3f', now() - tonumber(looked)) or ''
    word = {job.state, job.teardown or '', job.log or '', job.log_size or '', since}
  end
  words[#words + 1] = word
end
return words
