-- Deletes final jobs whose retention is over.
-- ARGV: limit
-- Reads retention, job; writes counts; deletes what lib/forget says. A job in teardown waits for its
-- release.
-- Returns the number of jobs looked at.
write_even_if_full()
local due = redis.call('ZRANGEBYSCORE', K.retention(), '-inf', now(), 'LIMIT', 0, tonumber(ARGV[1]))
for _, ref in ipairs(due) do
  local uid, id = split(ref)
  if redis.call('HEXISTS', K.job(uid, id), 'teardown') == 1 then
    redis.call('ZADD', K.retention(), now() + 60, ref)
  else
    forget(uid, id)
    count('swept|record_forgotten')
  end
end
return #due
