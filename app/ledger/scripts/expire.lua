-- Ends waiting jobs whose TTL ran out, one named job or those that are due; then goes on with
-- one admission that had stopped at its bound.
-- ARGV: limit, ref ('' = all that are due)
-- While a recovery is under way nothing expires: what waits here may run, and be forgotten.
-- Reads ttl, job, recovering; writes slots, admissions, and what finish and admit write.
-- Returns {1 if there may be more, flat list uid, id, compute, deployment of admitted jobs}.
write_even_if_full()
local limit, only = tonumber(ARGV[1]), ARGV[2]
local t, freed, hints = now(), {}, {}
local due = only ~= '' and {only} or redis.call('ZRANGEBYSCORE', K.ttl(), '-inf', t, 'LIMIT', 0, limit)
if recovering() then due = {} end
for _, ref in ipairs(due) do
  local uid, id = split(ref)
  local job = fields(K.job(uid, id), 'state', 'expires_at')
  if job.state ~= 'queued' and job.state ~= 'dispatched' then
    redis.call('ZREM', K.ttl(), ref)
  elseif tonumber(job.expires_at) <= t then
    redis.call('ZREM', K.queue(uid), id)
    leave_slot(uid, id)
    finish(uid, id, 'expired', 'queue_ttl', 'waited longer than its TTL allows')
    freed[uid] = true
  end
end

if only == '' then
  local uid = redis.call('SPOP', K.admissions())
  if uid then freed[uid] = true end
end
for uid in pairs(freed) do append_hints(hints, uid, admit(uid)) end
local more = #due == limit or redis.call('SCARD', K.admissions()) > 0
return {more and 1 or 0, hints}
