-- Says whether (state, attempt, fence) still hold, before a step that can't be undone.
-- ARGV: uid, id, state, attempt, fence
-- Reads job. Returns {'holds', cancel or ''} | {'stale'}.
local uid, id, state, attempt, fence = unpack(ARGV)
local job = fields(K.job(uid, id), 'state', 'attempt', 'fence', 'cancel')
if job.state ~= state or not holds(job, attempt, fence) then return {'stale'} end
return {'holds', job.cancel or ''}
