"""What the engine's words mean: each failure of docker-py becomes one of `workers.engine`.

The words were seen on Docker 20.10. Its status says little: a start that fails for the image's
unknown user is answered 500, one for a full disk 400.
"""

import http.client
import re
from collections.abc import Iterator
from contextlib import contextmanager

import docker.errors
import requests
import urllib3

from workers.engine import (
    EngineError,
    EngineTrouble,
    EngineUnavailable,
    ImageDenied,
    ImageGone,
    ImageNotFound,
    ImagePullFailed,
    NoSuchContainer,
    SpoolMissing,
    StartRefused,
)

# All that a call of docker-py may raise; requests' own exceptions are OSErrors.
FAILURES = (
    docker.errors.DockerException,
    docker.errors.StreamParseError,  # the engine died in the middle of a line
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)

_NODE_EXHAUSTED = (
    "no space left on device|disk quota exceeded|too many open files|input/output error"
    "|cannot allocate memory|resource temporarily unavailable|context deadline exceeded"
)

# The first that matches wins; what none matches is judged by its status.
_MEANINGS: tuple[tuple[str, type[EngineError]], ...] = (
    ("bind source path does not exist", SpoolMissing),
    # Removed between the engine's look at it and runc's mount.
    (r'error mounting "([^"]+)" to rootfs at .*: stat \1: no such file', SpoolMissing),
    ("no such container|marked for removal", NoSuchContainer),
    ("no such image", ImageGone),
    (_NODE_EXHAUSTED, EngineTrouble),
    # A CUDA image that wants a newer driver; any other word of this program is the machine's.
    ("requirement error: unsatisfied condition", StartRefused),
    ("nvidia-container-cli|could not select device driver", EngineTrouble),
    # An engine that was replaced under us by one of another age.
    ("client version .* is too (old|new)", EngineTrouble),
    ("error during container init|error mounting", StartRefused),
    ("unable to find (user|group)|uids and gids must be in range", StartRefused),
    ('exec: "|exec format error|init was oom-killed|is not (a )?directory', StartRefused),
    ("send message larger than max", StartRefused),  # an environment of more than 16 MiB
    # Whatever else the runtime fails at (cgroups, namespaces) is the machine's.
    ("oci runtime", EngineTrouble),
)

_IMAGE_MEANINGS: tuple[tuple[str, type[EngineError]], ...] = (
    (_NODE_EXHAUSTED, EngineTrouble),
    ("denied|unauthorized|authentication required|no basic auth credentials", ImageDenied),
    ("manifest unknown|name unknown|manifest for .* not found|no matching manifest", ImageNotFound),
    ("repository .* not found|unexpected http status: 404", ImageNotFound),
    ("invalid reference format|no such image", ImageNotFound),
)


@contextmanager
def translated() -> Iterator[None]:
    """Raises what docker-py raises inside as an EngineError."""
    try:
        yield
    except FAILURES as error:
        raise engine_error(error) from error


def engine_error(error: Exception) -> EngineError:
    """What a failed call means, images apart."""
    status = answered(error)
    if status is None:
        return EngineUnavailable(words(error))
    kind = _meaning(words(error), _MEANINGS)
    if kind is None:
        # 400: the engine understood, and will never do it.
        kind = StartRefused if status == 400 else EngineTrouble
    return kind(words(error))


def image_error(text: str) -> EngineError:
    """What the engine's words about an image mean: an ImageError, or EngineTrouble."""
    kind = _meaning(text, _IMAGE_MEANINGS) or ImagePullFailed
    return kind(text)


def pull_error(error: Exception) -> EngineError:
    """What a failed pull means. One that fell silent is the registry's fault, not the engine's."""
    if answered(error) is None and not timed_out(error) and _lost_engine(error):
        return EngineUnavailable(words(error))
    return image_error(words(error))


# Of these it is worth the while to ask again: the registry, or the way to it, is in trouble.
_PASSING = (
    "connection (refused|reset)|i/o timeout|timed? ?out|deadline exceeded|unexpected eof|: eof"
    "|tls handshake|temporary failure|server misbehaving|network is unreachable|no route to host"
    "|broken pipe|http status:? 5[0-9][0-9]|internal server error|bad gateway|gateway time"
    "|service unavailable|status code 5[0-9][0-9]"
)


def passing(failure: ImagePullFailed) -> bool:
    """Whether a pull that failed so may come to a good end a little later."""
    return re.search(_PASSING, str(failure), re.I) is not None


def timed_out(error: Exception) -> bool:
    """Whether a call ended because nothing more was heard."""
    # On a Unix socket requests tells a read timeout as a ConnectionError.
    known = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    return isinstance(error, known) or "timed out" in str(error).lower()


def answered(error: Exception) -> int | None:
    """The status that the engine answered with; None if it did not answer."""
    if isinstance(error, docker.errors.APIError) and error.response is not None:
        return int(error.response.status_code)
    return None


def words(error: Exception) -> str:
    """The engine's own explanation, where there is one, without the request around it."""
    return str(getattr(error, "explanation", None) or error)


def _meaning(
    text: str, meanings: tuple[tuple[str, type[EngineError]], ...]
) -> type[EngineError] | None:
    found = (kind for pattern, kind in meanings if re.search(pattern, text, re.I | re.S))
    return next(found, None)


def _lost_engine(error: Exception) -> bool:
    # Other DockerExceptions come from our side of the client: a credential helper that is missing.
    return not isinstance(error, docker.errors.DockerException)
