"""Rules of jobs and deployments. Nothing in here does any I/O."""
