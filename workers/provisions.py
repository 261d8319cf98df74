"""What a replica is given that its deployment only names: secrets, shared volumes, a login."""

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from app.domain.deployment import Deployment
from app.domain.errors import NotFound
from app.domain.job import Reason, State
from app.domain.registries import (
    CREDENTIALS,
    EcrCredentials,
    NotForThisRegistry,
    check_registry,
    static_login,
)
from app.domain.verdict import Outcome
from app.domain.volumes import SecretMount, SharedMount
from app.ledger.sealing import CantOpen, NoKey
from app.ledger.secrets import Kind, Opened
from workers import ecr
from workers.engine import EngineTrouble, ImageDenied, Mount
from workers.images import Login
from workers.recipe import Hopeless
from workers.secret_files import Folder, SecretFiles
from workers.site import Site

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provisions:
    """Values by the names of their secrets; the files of each mount of a secret; the mounts."""

    values: Mapping[str, str] = field(repr=False)
    folders: tuple[Folder, ...] = field(repr=False)
    mounts: tuple[Mount, ...]


def gather(site: Site, spec: Deployment, files: SecretFiles) -> Provisions:
    """Reads all that a deployment names; `files` is where its secrets' files will be.

    Raises Hopeless where something is gone, EngineTrouble where this machine can't read it.
    """
    (container,) = spec.containers
    mounts = [m for m in container.volume_mounts if isinstance(m, SecretMount)]
    shared = [m for m in container.volume_mounts if isinstance(m, SharedMount)]
    named = {e.value_or_reference_to_secret for e in container.env if e.type == "secret"}
    return Provisions(
        values={name: _opened(site, Kind.SECRET, name).value for name in sorted(named)},
        folders=tuple(_folder(site, mount) for mount in mounts),
        mounts=(
            *(_bind(files.folder(n), m.mount_path, True) for n, m in enumerate(mounts)),
            *(_shared(site, mount) for mount in shared),
        ),
    )


def login(site: Site, spec: Deployment) -> Login | None:
    """How a deployment's image is pulled; None: as anybody.

    Raises Hopeless, EngineTrouble as `gather` does; ImageDenied where the credentials that it names
    are for another registry.
    """
    named = spec.container_registry_settings.credentials
    if named is None:
        return None
    opened, ref = _opened(site, Kind.CREDENTIALS, named.name), spec.containers[0].image
    credentials = CREDENTIALS.validate_python(opened.value)
    try:
        check_registry(credentials, ref)
    except NotForThisRegistry as error:
        raise ImageDenied(str(error)) from None
    if isinstance(credentials, EcrCredentials):
        ask = partial(ecr.login, credentials, site.settings.ecr_endpoint)
    else:
        ask = partial(_known, static_login(credentials, ref))
    return Login(opened.id, ask)


def _known(known: tuple[str, str] | None) -> tuple[str, str]:
    assert known is not None
    return known


def _opened(site: Site, kind: Kind, name: str) -> Opened:
    try:
        return site.ledger.secrets.open(kind, name)
    except NotFound as error:
        raise _hopeless(error.message) from None
    except (NoKey, CantOpen) as error:
        raise EngineTrouble(f"this machine can't read secrets: {error}") from None


def _folder(site: Site, mount: SecretMount) -> Folder:
    files: dict[str, Any] = _opened(site, Kind.FILE_SECRET, mount.secret_name).value
    for name in mount.file_names:
        if name not in files:
            raise _hopeless(f"the file-secret {mount.secret_name!r} has no file {name!r}")
    wanted = mount.file_names or tuple(files)
    return {name: base64.b64decode(files[name]) for name in wanted}


def _shared(site: Site, mount: SharedMount) -> Mount:
    volume = site.volumes.get(mount.volume_id)
    if volume is None:
        raise _hopeless(f"this machine has no shared volume {mount.volume_id!r}")
    try:
        path = Path(volume.path).resolve(strict=True)  # where the operator's links lead
    except (OSError, RuntimeError):
        path = Path()
    if not path.is_absolute() or not path.is_dir():
        logger.error("volume %r: %r is no directory here", mount.volume_id, volume.path)
        raise _hopeless(f"the shared volume {mount.volume_id!r} is not on this machine")
    return _bind(path, mount.mount_path, volume.read_only)


def _bind(source: Path, target: str, read_only: bool) -> Mount:
    return Mount("bind", str(source), target, read_only)


def _hopeless(why: str) -> Hopeless:
    detail = f"the replica could not start: {why}"
    return Hopeless(Outcome(State.FAILED, Reason.START_FAILED, detail))
