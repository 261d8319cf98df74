"""A change of a deployment: what was sent, laid over what is there.

A member that is not sent, or is null, keeps its value; objects merge, lists replace. The one
container is meant whether it is named or not. Its image keeps its value also where it is sent as
"": the original's Go client writes that for one that it was not given.
"""

from collections.abc import Mapping
from typing import Any

from app.domain.deployment import Deployment, image_reference
from app.domain.members import Names
from app.domain.volumes import SecretMount, SharedMount


def merged(deployment: Deployment, sent: Mapping[str, Any]) -> dict[str, Any]:
    """What the deployment would be after a change, not yet validated. Its name stays."""
    there: dict[str, Any] = deployment.model_dump(mode="json")
    containers = _containers(there["containers"], sent.get("containers"))
    own = {"name": deployment.name, "containers": containers}
    return {**_over(there, sent), **own}


def names_in(deployment: Deployment) -> Names:
    """The names that a deployment refers to: it may keep them, whatever they stand for now."""
    (container,) = deployment.containers
    mounts, credentials = (
        container.volume_mounts,
        deployment.container_registry_settings.credentials,
    )
    values = (v.value_or_reference_to_secret for v in container.env if v.type == "secret")
    return Names(
        compute=frozenset({deployment.compute.name}),
        secrets=frozenset(values),
        file_secrets=frozenset(m.secret_name for m in mounts if isinstance(m, SecretMount)),
        volumes=frozenset(m.volume_id for m in mounts if isinstance(m, SharedMount)),
        credentials=frozenset({credentials.name} if credentials else ()),
    )


def _containers(there: list[Any], sent: Any) -> Any:
    if sent is None:
        return there
    if not isinstance(sent, list) or len(sent) != 1 or not isinstance(sent[0], dict):
        return sent
    image = image_reference(sent[0].get("image")) if sent[0].get("image") != "" else None
    return [_over(there[0], sent[0] | {"image": image})]


def _over(there: Any, sent: Any) -> Any:
    if sent is None:
        return there
    if not isinstance(there, dict) or not isinstance(sent, dict):
        return sent
    return there | {name: _over(there.get(name), member) for name, member in sent.items()}
