-- Cancels a job: at once where no container can be, else by a flag its supervisor sees.
-- ARGV: uid, id, reason, detail
-- Reads and writes job, queue, slots, and what finish and admit write.
-- Returns {'cancelled', hints} | {'flagged', {}} | {'over', {}} | {'missing', {}}.
write_even_if_full()
local uid, id, reason, detail = unpack(ARGV)
local key = K.job(uid, id)
local state = redis.call('HGET', key, 'state')
if not state then return {'missing', {}} end
if state == 'queued' then
  redis.call('ZREM', K.queue(uid), id)
  finish(uid, id, 'cancelled', reason, detail)
  return {'cancelled', {}}
elseif state == 'dispatched' then
  finish(uid, id, 'cancelled', reason, detail)
  return {'cancelled', free_slot(uid, id)}
elseif state == 'starting' or state == 'running' then
  redis.call('HSETNX', key, 'cancel', reason)
  return {'flagged', {}}
end
return {'over', {}}
