"""gunicorn's settings: `gunicorn -c python:app.gunicorn_config 'app.web:create_app()'`."""

from typing import Any

# What all processes need is read once, before they are forked.
import app.web  # noqa: F401
from app import settings as app_settings
from app.server import Worker
from app.traffic import TRAFFIC  # its memory is made here, before the processes are forked

_settings = app_settings.load()


class _Worker(Worker):
    """The worker with the patience that is set."""

    head_seconds = _settings.head_seconds
    body_seconds = _settings.body_seconds
    held_connections = _settings.held_connections


bind = _settings.bind
workers = _settings.api_workers
threads = _settings.api_threads
# Who is held, or follows a log, takes nobody's place.
worker_connections = 1000 + _settings.held_connections + _settings.followers
worker_class = _Worker
http_parser = "python"  # ours is a subclass of it
header_map = "drop"  # from the environ only: we keep them beside it
# By default some headers change the environ, if they come from this machine: SCRIPT_NAME moves the
# path. To us every client is a stranger, and those headers are the app's.
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
limit_request_line = 8190
limit_request_fields = 1000
limit_request_field_size = 128 * 1024
keepalive = 75
graceful_timeout = 10
timeout = 60  # of a worker's own pulse; a thread that waits does not count
control_socket_disable = True


def post_fork(_server: Any, worker: Any) -> None:
    """Gives a new process its place among those that count."""
    TRAFFIC.place = worker.age
