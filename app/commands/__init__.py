"""What `onejob` does as a client: each command speaks to the server by `app.client` alone."""
