-- Somebody wants to know the last that a job's replica prints, so many bytes, for so many seconds from
-- now on; what was told of it lives on. Who wants most is heard, as long as somebody wants some.
-- Writes followed, and live's wished and end of life.
local function want(uid, id, state, bytes, seconds, ttl)
  local key, followed, ref = K.live(uid, id), K.followed(), ref_of(uid, id)
  if unfinished(state) then
    -- First, so that the others are written also where Redis is full: a removal always passes.
    redis.call('ZREMRANGEBYSCORE', followed, '-inf', now())
    local wished = redis.call('ZSCORE', followed, ref) and redis.call('HGET', key, 'wished') or 0
    redis.call('ZADD', followed, now() + tonumber(seconds), ref)
    redis.call('EXPIRE', followed, math.ceil(tonumber(seconds)))
    redis.call('HSET', key, 'wished', math.max(tonumber(wished), tonumber(bytes)))
  end
  redis.call('EXPIRE', key, ttl)
end

-- Whether what was told begins early enough for who wants so many bytes.
local function reaches(live, bytes)
  return tonumber(live.reach or 0) >= tonumber(bytes)
end
