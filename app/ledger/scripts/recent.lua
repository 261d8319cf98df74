-- The last of what a replica printed, as far as its worker told it.
-- ARGV: uid, id, attempt, bytes at most
-- Reads live. Returns {whether all is there that was told (1), or it is just being told anew (0), the
-- stored form of whole pieces}; nothing, and 0, where nothing of this attempt was told.
local BATCHES = 2000 -- at most: a script has a bound. A worker takes 20 minutes to tell as many
local uid, id, attempt, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local key = K.live(uid, id)
local live = fields(key, 'attempt', 'first', 'next', 'looked')
if live.attempt ~= attempt then return {0, ''} end
local after = tonumber(live.next)
local from, bytes, batches = after, 0, {}
while from > math.max(tonumber(live.first), after - BATCHES) and bytes < most do
  from = from - 1
  batches[from] = redis.call('HGET', key, from)
  bytes = bytes + #batches[from]
end
local text = table.concat(batches, '', from, after - 1)
if bytes > most then
  text = string.sub(text, -most) -- its first piece is cut, and goes
  text = string.sub(text, (string.find(text, '\n', 1, true) or #text) + 1)
end
return {live.looked and 1 or 0, text}
