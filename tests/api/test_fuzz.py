"""Both faces by the API's own document: what it allows, what it forbids, and what is neither."""

from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.generation.hypothesis.builder import (
    HypothesisTestConfig,
    HypothesisTestMode,
    create_test,
)
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_schema_conformance,
)

from app.api import openapi
from app.ledger import Ledger
from app.settings import Settings
from app.web import create_app
from tests.api.faces import Faces
from tests.api.server import ApiServer
from tests.api.states import JOBS, NAMES, populate
from tests.api.worker import PlayedWorker
from tests.redis_server import RedisServer

EXAMPLES = 8  # for each route, besides all that its schema names as a case of its own
ANSWER_SECONDS = 60  # where other tests run beside it
WAIT_MS = 20  # the longest that a request may ask to wait for something that never ends here
# As long as may be, and one less: to make them up by the pattern takes a minute, or fails.
LONG_IMAGES = [f"{'r' * (size - 265)}:{'t' * 128}@sha512:{'0' * 128}" for size in (511, 512)]
# What no schema says: which values go together, and which names there are.
UNSAYABLE = (
    "must have one mount for each mount_path",
    "must be an image reference with at most 255 characters of name",
    "there is no secret yet",
    "there is no file-secret yet",
    "there is no shared volume yet",
    "there is no registry credential yet",
    "must be base64",
    "must have one file for each file_name",
    "must have scaleway_uuid",
    "must have a registry in auths",
    "must have for each registry in auths",
    "must be a JSON object, as a string",
    'must have an object "auths"',
    "must be the name of a file",
    "is not allowed: must be an instant by RFC 3339",
    "is not allowed: must be a duration such as",
    "start: must not be later than end",
    "can't be changed, it is",
    "container_registry_settings.credentials.name is missing",  # they have none to be changed
    "is none of this deployment's lists",
    "is there more than once",  # in a form
)


def document() -> dict[str, Any]:
    """The document, where it can be told more here: which names there are."""
    secrets = {"client_id": "c", "client_secret": "s" * 16, "token_secret": "t" * 32}
    told = deepcopy(openapi.build(create_app(Settings(**secrets)), "http://127.0.0.1"))
    for methods in told["paths"].values():
        for operation in methods.values():
            _narrow(operation)
    for name, form in told["components"]["schemas"].items():
        if name in ("Compute", "ComputeChange"):
            form["properties"]["name"] = {"enum": ["cpu"]}
        if name in ("Container", "ContainerChange"):
            _tell_images(form["properties"]["image"])
        if name.endswith("Out") or name == "Error":
            form["additionalProperties"] = False  # nothing is answered that is not told
    return told


def _narrow(operation: dict[str, Any]) -> None:
    operation["responses"].pop("default", None)  # no app answers here
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in ("name", "deployment"):
            parameter["schema"] = {"enum": [*NAMES]}
        if parameter["name"] == "job_id" or (
            parameter["name"] == "X-Inference-Id" and parameter["required"]
        ):
            parameter["schema"] = {"enum": [*JOBS]}


def _tell_images(form: dict[str, Any]) -> None:
    for part in form.get("anyOf", ()):
        _tell_images(part)
    if "image" in form.get("properties", ()):
        _tell_images(form["properties"]["image"])
    if "examples" in form:
        form["examples"] = [*form["examples"], *LONG_IMAGES]


DOCUMENT = document()
ROUTES = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # to find the smallest case takes minutes
    suppress_health_check=list(HealthCheck),
)
load_all_checks()


@pytest.fixture(scope="module")
def impatient(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """An API that does not hold answers back: no job ends here, and no worker looks."""
    waits = {"hold_seconds": 0, "log_wait_seconds": 0.05}
    started = ApiServer.start(tmp_path_factory.mktemp("api"), redis_server.url, **waits)
    yield started
    started.stop()


@pytest.fixture
def crowded(impatient: ApiServer, ledger: Ledger, worker: PlayedWorker) -> Faces:
    """Both faces, with something in every state."""
    faces = Faces.of(impatient.port, ledger)
    populate(faces, worker)
    return faces


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_every_answer_is_as_the_document_says(
    path: str, method: str, crowded: Faces, impatient: ApiServer
) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.generation.update(with_security_parameters=False)

    def ask(case: schemathesis.Case) -> None:
        _ask(case, crowded, impatient.url)

    # Its own way into pytest makes the cases of all routes before the first test.
    config = HypothesisTestConfig(schema.config, list(HypothesisTestMode), settings=SETTINGS)
    create_test(operation=schema[path][method], test_func=ask, config=config)()


def _ask(case: schemathesis.Case, faces: Faces, url: str) -> None:
    access = next(iter(case.operation.definition.raw["security"]), {})
    credentials = {"token": faces.token, "key": faces.key}
    headers = {}
    for kind in access:
        headers["Authorization"] = f"Bearer {credentials[kind]}"
    _hurry(case)
    answer = case.call(base_url=url, headers=headers, timeout=ANSWER_SECONDS)
    case.validate_response(answer, headers=headers, excluded_checks=[*_not_asked(answer)])


def _not_asked(answer: schemathesis.Response) -> Iterator[Any]:
    """Checks that do not hold for an answer, for a reason that no schema can tell."""
    if "x-job-state" in answer.headers:  # it is the job that failed, or was cancelled
        yield from (not_a_server_error, positive_data_acceptance)
    if answer.status_code == 202 and not answer.content:  # Prefer: respond-async-proxy
        yield from (content_type_conformance, response_schema_conformance)
    if answer.status_code == 400:
        told = answer.json()["message"].split("; ")
        if all(any(words in one for words in UNSAYABLE) for one in told):
            yield positive_data_acceptance


def _hurry(case: schemathesis.Case) -> None:
    """Waits for what never ends here are cut short."""
    if isinstance(case.query, dict) and case.query.get("follow") == "true":
        case.query["follow"] = "false"
    waits = any(one.name == "timeout" for one in case.operation.query)
    if waits and isinstance(case.query, dict):
        with suppress(TypeError, ValueError):  # what is no number is refused at once
            if WAIT_MS < float(case.query.get("timeout", 300_000)) <= 300_000:
                case.query["timeout"] = WAIT_MS
