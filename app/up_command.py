"""`onejob up` on the command line."""

import sys
from pathlib import Path

import click

from app import local
from app.stack import Layout
from app.story import Story
from app.up import up as run_up

PORT = click.IntRange(1, 65535)


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=local.default_data,
    show_default="$ONEJOB_DATA or ~/.onejob",
    help="Where jobs, keys and logs are kept.",
)
@click.option("--port", type=PORT, default=8080, show_default=True, help="Port of the API.")
@click.option("--flower-port", type=PORT, default=5555, show_default=True, help="Port of Flower.")
@click.option("--once", is_flag=True, help="Stop after the example job; 0 only if it succeeded.")
def up(data: Path, port: int, flower_port: int, once: bool) -> None:
    """Start everything on this machine, run a real job through it, and serve until Ctrl-C.

    \b
    Examples:
      onejob up
      onejob up --once
      onejob up --data ./data --port 9000
    """
    sys.exit(run_up(Layout(data.resolve(), port, flower_port), once, Story()))
