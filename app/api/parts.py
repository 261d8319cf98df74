"""What the routes of the API's document have in common: errors, headers, credentials, groups."""

from typing import Any

from pydantic import TypeAdapter

from app.api.entries import Parameter, Schema
from app.api.errors import STATUS
from app.domain.deployment import Name
from app.domain.job import ID_PATTERN

ID: Schema = {"type": "string", "pattern": f"^{ID_PATTERN.pattern}$"}
_TEXT: Schema = {"type": "string"}
_SECONDS: Schema = {"type": "integer", "minimum": 0}


def _header(text: str, schema: Schema = _TEXT, required: bool = True) -> dict[str, Any]:
    return {"description": text, "required": required, "schema": schema}


HEADERS: dict[str, Any] = {
    "X-Inference-Id": _header("The job's id.", ID),
    "Location": _header("Where its result will be."),
    "Retry-After": _header("Seconds, before the same request may pass.", _SECONDS),
    "X-Job-State": _header("The job's state, also where an app's own answer is passed on."),
    "X-Exit-Code": _header("Of its process, once there is one.", {"type": "integer"}, False),
    "X-Log-Truncated": _header(
        "Whether the beginning was cut off, once the job is over.",
        {"enum": ["true", "false"]},
        False,
    ),
    "X-Log-Complete": _header("false while the job runs.", {"const": "false"}, False),
    "WWW-Authenticate": _header("What is asked for: Bearer."),
    "Allow": _header("The methods that there are."),
    "Cache-Control": _header("no-store: a secret is in it."),
}

# Of errors: what they mean, and their headers.
_RETRY = ("Retry-After",)
ERRORS: dict[int, tuple[str, tuple[str, ...]]] = {
    400: ("The request is not allowed as it is; the message names each bad field.", ()),
    401: ("No credentials, or wrong ones.", ("WWW-Authenticate",)),
    403: ("The credentials are good, the action is not theirs.", ()),
    404: ("There is no such thing.", ()),
    405: ("The path exists, the method does not.", ("Allow",)),
    408: ("The request did not arrive in time.", ()),
    409: ("The request contradicts what is there.", ()),
    410: ("It was there, and is gone.", ()),
    413: ("The body is over the limit, which the message names.", ()),
    414: ("The request line is too long.", ()),
    417: ("An Expect header that is not known.", ()),
    429: ("Too many jobs wait.", _RETRY),
    431: ("The request's head is too large.", ()),
    500: ("A fault of the server.", ()),
    503: ("Something that the service needs is away, or full.", _RETRY),
}
EVERYWHERE = (400, 408, 414, 417, 431, 500, 503)
assert ERRORS.keys() >= set(STATUS.values())

_DEPLOYMENT = {"schema": TypeAdapter(Name).json_schema(), "description": "A deployment's name."}
PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "name": _DEPLOYMENT,
    "deployment": _DEPLOYMENT,
    "job_id": {"schema": ID, "description": "A job's id."},
    "secret": {"schema": {"type": "string", "minLength": 1}, "description": "The name it has."},
    "key_id": {"schema": {"type": "string", "minLength": 1}, "description": "A key's id."},
    "path": {
        "schema": {"type": "string", "minLength": 1},
        "description": "Any path, with slashes and query: it reaches the app byte for byte.",
    },
}
SECURITY: dict[str, Any] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Of the control plane: an access token from `/v1/oauth2/token`.",
    },
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "Of the data plane: an inference key.",
    },
}
# A group is a module of app/api; one that is not here stands last, under its own name.
TAGS = [
    {"name": "data_plane", "description": "Submit: any request to a deployment becomes a job."},
    {"name": "results", "description": "What became of a job."},
    {"name": "tokens", "description": "Access to the control plane."},
    {"name": "deployments", "description": "What may be run, and how much of it."},
    {"name": "job_lists", "description": "The jobs of a deployment."},
    {"name": "jobs", "description": "One job, for whoever looks after it."},
    {"name": "logs", "description": "What one job's replica printed."},
    {"name": "deployment_logs", "description": "What replicas printed, and what the platform did."},
    {"name": "inference_keys", "description": "Who may use the data plane."},
    {"name": "secrets", "description": "What deployments need and nobody shall read."},
    {"name": "resources", "description": "What the machines that are alive can run."},
    {"name": "container_types", "description": "What there is to run on."},
    {"name": "probes", "description": "How the service is."},
]

INFERENCE_ID = Parameter("X-Inference-Id", "header", ID, "The job's id.", required=True)


def timeout(text: str) -> Parameter:
    """The query's `timeout`."""
    return Parameter("timeout", "query", {"type": "number", "minimum": 0, "maximum": 300_000}, text)
