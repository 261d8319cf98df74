"""The service: what a job is, where it is kept, how the world talks to it."""
