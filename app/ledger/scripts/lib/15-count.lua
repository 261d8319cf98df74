-- What happened is counted by the script that makes it so, and only where it did: a repeated verb
-- counts nothing. The names are those of app/ledger/counts.py.
local function count(field, by)
  redis.call('HINCRBY', K.counts(), field, by or 1)
end

local function observe(name, value)
  local bounds, scale = bounds_of(name)
  local bucket = 1
  while bounds[bucket] and value > bounds[bucket] do bucket = bucket + 1 end
  count(name .. '|' .. bucket)
  count(name .. '|sum', string.format('%.0f', value * scale))
end

-- The seconds between two instants that a worker told, or an app by way of its events: never less
-- than none, nor more than have passed by Redis's clock.
local function lasted(since, till, most)
  local seconds = (tonumber(till) or 0) - (tonumber(since) or 0)
  return math.max(0, math.min(seconds, most))
end
