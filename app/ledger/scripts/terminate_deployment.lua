-- Marks a deployment as being deleted: it accepts and starts nothing more.
-- ARGV: uid (not its name: a late repeat must not hit one that was made again under that name)
-- Writes deployment, terminating. Returns its record, or false if there is none.
write_even_if_full()
local uid = ARGV[1]
if redis.call('EXISTS', K.deployment(uid)) == 0 then return false end
redis.call('HSET', K.deployment(uid), 'state', 'terminating')
redis.call('SADD', K.terminating(), uid)
return deployment_record(uid)
