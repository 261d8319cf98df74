-- Somebody wants to know what a job's replica prints, for so many seconds from now on; what was told
-- of it lives on. Writes followed, and live's end of life.
local function want(uid, id, state, seconds, ttl)
  if unfinished(state) then
    redis.call('ZREMRANGEBYSCORE', K.followed(), '-inf', now())
    redis.call('ZADD', K.followed(), now() + tonumber(seconds), ref_of(uid, id))
    redis.call('EXPIRE', K.followed(), math.ceil(tonumber(seconds)))
  end
  redis.call('EXPIRE', K.live(uid, id), ttl)
end
