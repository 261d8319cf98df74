"""Changes of a deployment that make it a bad one, and the refusal."""

from typing import Any

from tests.api.faces import Faces, deployment

Change = dict[str, Any]


def container(**members: Any) -> Change:
    """A change of the deployment's one container."""
    return {"containers": [deployment()["containers"][0] | members]}


def scaling(**members: Any) -> Change:
    """A change of its scaling."""
    return {"scaling": deployment()["scaling"] | members}


def env(**members: Any) -> Change:
    """One variable."""
    return container(env=[{"name": "A", "value_or_reference_to_secret": "b"} | members])


def mount(**members: Any) -> Change:
    """One mount."""
    return container(volume_mounts=[members])


def refused(api: Faces, body: Any) -> str:
    """The message of the refusal."""
    answer = api.control("POST", "/job-deployments", body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request"), answer
    assert api.control("GET", "/job-deployments").json == []
    return str(answer.json["message"])
