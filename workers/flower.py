"""Flower, with its password from the settings: `python -m workers.flower [OPTION of flower…]`.

The user's name is `onejob`.
"""

import os
import sys
from collections.abc import Sequence

from app import settings as app_settings
from app.settings import Settings

USER = "onejob"


def command(settings: Settings, options: Sequence[str]) -> list[str]:
    """What is run: Celery's own command for Flower, on the port of the settings."""
    celery = [sys.executable, "-m", "celery", "-A", "workers.celery", "flower"]
    return [*celery, f"--port={settings.flower_port}", *options]


def environment(settings: Settings) -> dict[str, str]:
    """Flower's environment: a password on a command line could be read by anyone. SettingsError."""
    settings.require("flower_password")
    return dict(os.environ) | {"FLOWER_BASIC_AUTH": f"{USER}:{settings.flower_password}"}


def main() -> None:
    """Becomes Flower."""
    try:
        settings = app_settings.load()
        given = environment(settings)
    except app_settings.SettingsError as error:
        sys.exit(f"onejob: {error}")
    argv = command(settings, sys.argv[1:])
    os.execvpe(argv[0], argv, given)


if __name__ == "__main__":
    main()
