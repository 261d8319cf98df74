-- Redis's own clock is the only one that ledger times come from.
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local function stamp(seconds)
  return string.format('%.6f', seconds)
end

-- What moves accepted work on is written even where Redis is over its memory limit. The limit is
-- asked at a script's first write only, and a removal always passes it.
local function write_even_if_full()
  redis.call('UNLINK', K.nothing())
end

local function ref_of(uid, id)
  return uid .. '/' .. id
end

local function split(ref)
  return string.match(ref, '^([^/]+)/(.+)$')
end

-- HMGET as a table by name; a missing field is nil.
local function fields(key, ...)
  local values, out = redis.call('HMGET', key, ...), {}
  for i, name in ipairs({...}) do
    if values[i] then out[name] = values[i] end
  end
  return out
end

local function note(uid, id, event, detail)
  redis.call('RPUSH', K.timeline(uid, id),
    cjson.encode({event = event, at = stamp(now()), detail = detail}))
end

-- Notes what others have seen, with their own instants as far as the timeline's order allows: not
-- before the entry in front, and not later than now. `told`: a JSON list of {event, at, detail}, or ''.
local function note_told(uid, id, told)
  if told == '' then return end
  local key, entries, t = K.timeline(uid, id), {}, now()
  local last = redis.call('LINDEX', key, -1)
  local since = last and tonumber(cjson.decode(last).at) or 0
  for _, entry in ipairs(cjson.decode(told)) do
    since = math.min(math.max(tonumber(entry.at), since), t)
    entry.at = stamp(since)
    entries[#entries + 1] = cjson.encode(entry)
  end
  redis.call('RPUSH', key, unpack(entries))
end

-- The three numbers that every transition compares: who is late, fails here.
local function holds(job, attempt, fence)
  return job.attempt == attempt and job.fence == fence
end

-- What a deployment said in one version, decoded; nil if it is gone.
local function spec_of(uid, version)
  local raw = redis.call('HGET', K.specs(uid), version)
  return raw and cjson.decode(raw)
end

local function unfinished(state)
  return state == 'queued' or state == 'dispatched' or state == 'starting' or state == 'running'
end
