-- One page of a deployment's jobs, the newest first.
-- ARGV: uid, how many, the place to go on behind ('' = from the newest), number of states, the states
--       (none = all), the fields of each job
-- Reads jobs, queue, in_state, job. Returns {the place of the last one ('' = no more follow), then for
-- each job its fields as a flat list}.
-- No more than `how many` and one are looked at in each state, however many there are.
local uid, limit, place, count = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local from, found = place == '' and '+inf' or '(' .. place, {}

local function look(key)
  local some = redis.call('ZREVRANGEBYSCORE', key, from, '-inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
  for i = 1, #some, 2 do found[#found + 1] = {id = some[i], seq = tonumber(some[i + 1])} end
end

if count == 0 then look(K.jobs(uid)) end
for i = 5, 4 + count do
  look(ARGV[i] == 'queued' and K.queue(uid) or K.in_state(uid, ARGV[i]))
end
table.sort(found, function(a, b) return a.seq > b.seq end)

local page = {#found > limit and string.format('%d', found[limit].seq) or ''}
for i = 1, math.min(limit, #found) do
  local values, job = redis.call('HMGET', K.job(uid, found[i].id), unpack(ARGV, 5 + count)), {}
  for n, value in ipairs(values) do
    if value then job[#job + 1], job[#job + 2] = ARGV[4 + count + n], value end
  end
  page[#page + 1] = job
end
return page
