-- Ends an attempt that a node holds: the job's final state, written once.
-- ARGV: uid, id, attempt, fence, state, reason, detail, what its node saw (see note_told), field, value,
--       field, value, …
-- Reads job; writes what lib/finish says. The slot stays taken: teardown names the node whose
-- container still has to go; `release` frees it. Repeated by the same holder: 'done' again.
-- Returns 'done' | 'stale'.
write_even_if_full()
local uid, id, attempt, fence, state, reason, detail, told = unpack(ARGV, 1, 8)
local job = fields(K.job(uid, id), 'state', 'attempt', 'fence', 'node', 'reason')
if not holds(job, attempt, fence) then return 'stale' end
if job.state == state and job.reason == reason then return 'done' end
if job.state ~= 'starting' and job.state ~= 'running' then return 'stale' end
local more = {teardown = job.node}
for i = 9, #ARGV, 2 do more[ARGV[i]] = ARGV[i + 1] end
note_told(uid, id, told)
finish(uid, id, state, reason, detail, more)
return 'done'
