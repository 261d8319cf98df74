-- Pauses or resumes a deployment: a paused one accepts, and starts nothing.
-- ARGV: uid, state ('paused' | 'running')
-- Reads and writes deployment; writes what admit writes.
-- Returns {'done', hints} | {'terminating', {}} | {'missing', {}}.
write_even_if_full()
local uid, wanted = unpack(ARGV)
local state = redis.call('HGET', K.deployment(uid), 'state')
if not state then return {'missing', {}} end
if state == 'terminating' then return {'terminating', {}} end
redis.call('HSET', K.deployment(uid), 'state', wanted)
return {'done', admit(uid)}
