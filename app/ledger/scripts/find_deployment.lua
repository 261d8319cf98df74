-- One deployment by its name.
-- ARGV: name
-- Reads what lib/deployment reads. Returns its record, or false.
return deployment_named(ARGV[1])
