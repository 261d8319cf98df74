-- The states of many jobs, for those who wait for their ends: in one call, as it is asked often.
-- ARGV: deployment uid, job id, deployment uid, job id, …
-- Reads job.
-- Returns a list in the same order: the state, or false where there is no such job.
local states = {}
for i = 1, #ARGV, 2 do
  states[#states + 1] = redis.call('HGET', K.job(ARGV[i], ARGV[i + 1]), 'state')
end
return states
