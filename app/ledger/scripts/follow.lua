-- What a job's replica printed while somebody follows it, behind a place; and says that somebody does.
-- ARGV: uid, id, attempt of the place, place, how many bytes are wanted (all), for how many seconds,
--       bytes at most at once, seconds for what was told to live on
-- Reads job, live; writes what lib/want says. Returns {'missing'} | {state, node that tears it down or
-- '', replica or '', attempt, telling (see relay), place to go on from, whether more is there (0 | 1),
-- batch, batch, …}
local BATCHES = 1000 -- at once: a script's answer has a bound
local uid, id, attempt, place, all, seconds, most, ttl = unpack(ARGV)
local job = fields(K.job(uid, id), 'state', 'teardown', 'replica')
if not job.state then return {'missing'} end
want(uid, id, job.state, all, seconds, ttl)
local key = K.live(uid, id)
local live = fields(key, 'attempt', 'telling', 'first', 'next', 'reach')
if not reaches(live, all) then live = {} end -- only a last part is told, to others: all of it comes
local first, after = tonumber(live.first or 0), tonumber(live.next or 0)
local from, bytes, batches = tonumber(place), 0, {}
if live.attempt ~= attempt or from < first or from > after then from = first end
while from < after and bytes < tonumber(most) and #batches < BATCHES do
  local batch = redis.call('HGET', key, from)
  batches[#batches + 1], bytes, from = batch, bytes + #batch, from + 1
end
return {job.state, job.teardown or '', job.replica or '', live.attempt or '',
  tonumber(live.telling or 0), from,
  from < after and 1 or 0, unpack(batches)}
