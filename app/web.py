"""The Flask application: `gunicorn -c python:app.gunicorn_config 'app.web:create_app()'`."""

import logging

from flask import Flask

from app import metrics
from app import settings as app_settings
from app.api import (
    container_types,
    data_plane,
    deployment_logs,
    deployments,
    errors,
    holding,
    inference_keys,
    job_lists,
    jobs,
    logs,
    openapi,
    page,
    probes,
    resources,
    results,
    secrets,
    tokens,
)
from app.api import services as views
from app.api.endings import Endings
from app.api.following import Followers
from app.auth import Tokens
from app.dispatch import Publisher
from app.domain.compute import ComputeError, ComputeResource, parse_resources
from app.domain.shared import SharedVolume, VolumesError, parse_volumes
from app.ledger import Ledger, connect
from app.ledger.memory import Memory
from app.settings import Settings, SettingsError
from app.traffic import TRAFFIC, counted

# Whoever looks at a request before it is routed comes first, in this order: holding, data_plane.
MODULES = (
    *(holding, data_plane, results, probes, metrics, tokens, deployments, job_lists, jobs),
    *(logs, deployment_logs),
    *(resources, container_types, inference_keys, secrets),
    *(openapi, page),
)
REDIS_SECONDS = 0.7  # a call waits that long for Redis; then it is 503, in under a second


def create_app(settings: Settings | None = None) -> Flask:
    """The application with all its routes. Raises SettingsError."""
    settings = settings or app_settings.load()
    settings.require("client_id", "client_secret", "token_secret")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    views.install(app, _services(settings))
    errors.install(app)
    for module in MODULES:
        app.register_blueprint(module.blueprint)
    app.wsgi_app = counted(app.wsgi_app, TRAFFIC)  # type: ignore[assignment,method-assign]
    return app


def _services(settings: Settings) -> views.Services:
    assert settings.client_id and settings.client_secret and settings.token_secret
    client = connect(settings.redis_url, REDIS_SECONDS, repeat_timeouts=False)
    publisher = Publisher(settings.redis_url)
    ledger = Ledger(client, settings.hint_seconds, settings.secrets_key)
    return views.Services(
        settings=settings,
        ledger=ledger,
        memory=Memory(client, settings.memory_limit_bytes),
        publish=publisher,
        prepull=publisher.pull,
        waiting=views.Waiting(settings.api_threads),
        endings=Endings(ledger.jobs),
        followers=Followers(settings.followers),
        tokens=Tokens(
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            secret=settings.token_secret,
            access_seconds=settings.token_seconds,
            refresh_seconds=settings.refresh_seconds,
        ),
        compute=_compute(settings),
        volumes=_volumes(settings),
    )


def _compute(settings: Settings) -> dict[str, ComputeResource]:
    try:
        return parse_resources(settings.compute_toml())
    except ComputeError as error:
        raise SettingsError(f"{app_settings.variable('compute_file')}: {error}") from error


def _volumes(settings: Settings) -> dict[str, SharedVolume]:
    try:
        return parse_volumes(settings.volumes_toml())
    except VolumesError as error:
        raise SettingsError(f"{app_settings.variable('volumes_file')}: {error}") from error
