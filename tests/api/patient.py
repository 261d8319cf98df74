"""The API as most tests run it: it waits for Redis and for workers longer than the product does.

The product says 503 after 0.7 s. On a machine that is busy with other tests Redis may take seconds,
for want of a processor or of the disk; a test of something else would fail by that.
"""

from flask import Flask

from app import dispatch, web
from app.api import so_far

REDIS_SECONDS = 15.0  # less than a client of the tests waits
FRESH_SECONDS = 30.0  # that a played worker need not look again


def create_app() -> Flask:
    """The application; to be made in a process of its own."""
    web.REDIS_SECONDS = REDIS_SECONDS
    dispatch._TRANSPORT["socket_timeout"] = REDIS_SECONDS
    so_far.FRESH_SECONDS = FRESH_SECONDS
    return web.create_app()
