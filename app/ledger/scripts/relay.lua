-- Appends to what a running replica printed, for those who follow it.
-- ARGV: uid, id, attempt, fence, number of the batch (counted by its holder), bytes that are kept at
--       most, seconds to live, whether a telling begins with it (1 | 0), how many bytes of what was
--       printed before that has at least, batch (stored form of pieces)
-- Reads job; reads and writes live. Returns 'done' | 'stale'.
-- Repeated by the same holder: 'done' again, and appended once. A holder that begins anew tells again
-- what was told: that is another telling, and what is left of the one before goes. Fails where Redis is
-- full, and then changes nothing; an empty batch passes.
local uid, id, attempt, fence, number, most, ttl, anew, reach, batch = unpack(ARGV)
local job = fields(K.job(uid, id), 'state', 'attempt', 'fence')
if not job.state or not holds(job, attempt, fence) then return 'stale' end
if batch == '' then write_even_if_full() end -- it takes no room
local key, name = K.live(uid, id), attempt .. '.' .. fence .. '.' .. number
local live = fields(key, 'attempt', 'telling', 'first', 'next', 'bytes', 'told', 'wished')
if live.told == name then return 'done' end
if anew == '1' or live.attempt ~= attempt then
  local telling = tonumber(live.telling or 0) + 1
  redis.call('HSET', key, 'telling', telling) -- a full Redis refuses this, but nothing behind a removal
  redis.call('UNLINK', key)
  live = {telling = telling, first = live.next, next = live.next, wished = live.wished}
end
local first, after = tonumber(live.first or 0), tonumber(live.next or 0)
local bytes = tonumber(live.bytes or 0) + #batch
redis.call('HSET', key, after, batch)
while bytes > tonumber(most) and first < after do
  bytes = bytes - redis.call('HSTRLEN', key, first)
  redis.call('HDEL', key, first)
  first = first + 1
end
redis.call('HSET', key, 'attempt', attempt, 'telling', live.telling, 'first', first,
  'next', after + 1, 'bytes', bytes, 'told', name, 'reach', reach, 'wished', live.wished or reach)
redis.call('EXPIRE', key, ttl)
return 'done'
