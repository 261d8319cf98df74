-- Gives the free slots of one deployment to its waiting jobs.
-- ARGV: uid
-- Reads and writes what lib/admit says. Returns the hints.
return admit(ARGV[1])
