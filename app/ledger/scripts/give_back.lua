-- Has the next sweep hint again at a dispatched job: who took its message starts nothing new.
-- ARGV: uid, id
-- Reads job; writes dispatched. Returns {'not_dispatched', {}}, as a claim by such a worker does.
write_even_if_full()
local uid, id = ARGV[1], ARGV[2]
local job = fields(K.job(uid, id), 'state', 'compute')
if job.state == 'dispatched' then
  redis.call('ZADD', K.dispatched(job.compute), 'XX', now(), ref_of(uid, id))
end
return {'not_dispatched', {}}
