"""gunicorn's settings of the product, with the worker class that BENCH_WORKER names.

sync and gthread are gunicorn's own. The product needs its parser there, too; they get it where
BENCH_PARSER is set.
"""

import os
from types import SimpleNamespace
from typing import Any

from gunicorn import http

from app import gunicorn_config as product
from app.server import WireParser

HEAD_SECONDS, BODY_SECONDS = 10.0, 60.0


def _wire_parser(cfg: Any, sock: Any, client: Any, **_: Any) -> WireParser:
    connection = SimpleNamespace(cfg=cfg, sock=sock, client=client)
    return WireParser(connection, HEAD_SECONDS, BODY_SECONDS)


# gunicorn takes every name of this module that is a setting's.
globals().update({name: value for name, value in vars(product).items() if not name.startswith("_")})
if (_name := os.environ.get("BENCH_WORKER", "onejob")) != "onejob":
    worker_class = _name
if os.environ.get("BENCH_PARSER"):
    http.get_parser = _wire_parser
