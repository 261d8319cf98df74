-- All deployments, at one instant, in no order.
-- Reads deployments, and what lib/deployment reads. Returns their records.
local found = {}
for _, uid in ipairs(redis.call('HVALS', K.deployments())) do
  found[#found + 1] = deployment_record(uid) or nil
end
return found
