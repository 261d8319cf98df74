"""The engine's words, and what they mean; as Docker 20.10 and its runtimes said them."""

import docker.errors
import pytest
import requests

from workers.docker_errors import engine_error, image_error, passing, pull_error
from workers.docker_form import signal_number
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

RUNC = "failed to create shim task: OCI runtime create failed: runc create failed: "
INIT = f"{RUNC}unable to start container process: error during container init: "


def answer(status: int, words: str) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    return docker.errors.APIError("refused", response, words)


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "invalid mount config: bind source path does not exist: /spool/x", SpoolMissing),
        (
            400,
            f'{INIT}error mounting "/s/a" to rootfs at "/b": stat /s/a: no such file or directory',
            SpoolMissing,
        ),
        (
            400,
            f'{INIT}error mounting "/s/a" to rootfs at "/b": stat /b: no such file or directory',
            StartRefused,
        ),
        (404, "No such container: ffff", NoSuchContainer),
        (409, "container is marked for removal and cannot be started", NoSuchContainer),
        (404, "network onejob not found", EngineTrouble),
        (404, "No such image: sha256:00", ImageGone),
        (500, "mkdir /var/lib/docker/overlay2/x: no space left on device", EngineTrouble),
        (400, f"{RUNC}mkdir /run/x: no space left on device: unknown", EngineTrouble),
        (
            400,
            f"{RUNC}unable to apply cgroup configuration: no such file or directory",
            EngineTrouble,
        ),
        (500, 'could not select device driver "" with capabilities: [[gpu]]', EngineTrouble),
        (500, f"{RUNC}nvidia-container-cli: initialization error: load library", EngineTrouble),
        (
            500,
            f"{RUNC}nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.4",
            StartRefused,
        ),
        (500, "something new", EngineTrouble),
        (
            400,
            "client version 1.41 is too old. Minimum supported API version is 1.44",
            EngineTrouble,
        ),
        (400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs", StartRefused),
        (
            400,
            f'{RUNC}unable to start container process: exec: "/x": permission denied',
            StartRefused,
        ),
        (500, f'{INIT}error mounting "/v" to rootfs at "/proc": is inside /proc', StartRefused),
        (500, f"{INIT}environment variable value can't contain null(\\x00)", StartRefused),
        (500, "unable to find user app: no matching entries in passwd file", StartRefused),
        (500, "Cannot mkdir: /etc/passwd is not a directory", StartRefused),
        (500, "trying to send message larger than max (20010944 vs. 16777216)", StartRefused),
    ],
)
def test_an_answer_is_judged_by_its_words_first(
    status: int, words: str, kind: type[EngineError]
) -> None:
    error = engine_error(answer(status, words))
    assert (type(error), str(error)) == (kind, words)


@pytest.mark.parametrize(
    "silence",
    [
        requests.ConnectionError("Connection aborted"),
        requests.ReadTimeout("Read timed out"),
        ConnectionResetError(104, "reset"),
        docker.errors.DockerException("Error while fetching server API version"),
    ],
)
def test_no_answer_is_never_more_than_unavailable(silence: Exception) -> None:
    assert type(engine_error(silence)) is EngineUnavailable


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("manifest for debian:nope not found: manifest unknown: manifest unknown", ImageNotFound),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", ImageNotFound),
        (
            "pull access denied for x, repository does not exist or may require 'docker login'",
            ImageDenied,
        ),
        ("Head https://r/v2/x/manifests/1: unauthorized: authentication required", ImageDenied),
        ("dial tcp: lookup r.example on 10.0.0.1:53: no such host", ImagePullFailed),
        ("toomanyrequests: You have reached your pull rate limit", ImagePullFailed),
        ("failed to register layer: write /lib/x: no space left on device", EngineTrouble),
    ],
)
def test_a_registrys_words_tell_why_there_is_no_image(words: str, kind: type[EngineError]) -> None:
    assert type(image_error(words)) is kind


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (requests.ConnectionError("Connection refused"), EngineUnavailable),
        (requests.ConnectionError("Read timed out."), ImagePullFailed),
        (docker.errors.DockerException("credential helper not installed"), ImagePullFailed),
    ],
)
def test_a_pull_that_breaks_off_blames_the_right_one(
    failure: Exception, kind: type[EngineError]
) -> None:
    assert type(pull_error(failure)) is kind


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ("Get http://h/v2/: dial tcp 127.0.0.1:1: connect: connection refused", True),
        ("Get https://h/v2/: net/http: TLS handshake timeout", True),
        ("received unexpected HTTP status: 503 Service Unavailable", True),
        ("error pulling image configuration: unexpected EOF", True),
        ("dial tcp: lookup h on 1.1.1.1:53: server misbehaving", True),
        ("the pull stood still for 300 s", False),
        ("toomanyrequests: You have reached your pull rate limit.", False),
        ("x509: certificate signed by unknown authority", False),
        ("http: server gave HTTP response to HTTPS client", False),
        ("filesystem layer verification failed for digest sha256:00", False),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(words: str, passes: bool) -> None:
    assert passing(ImagePullFailed(words)) is passes


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGTERM", 15),
        ("term", 15),
        ("9", 9),
        ("SIGRTMIN+3", 37),
        ("RTMIN+3", 37),
        ("SIGRTMAX-1", 63),
        ("SIGQUIT", 3),
        ("", 15),
        ("0", 15),
        ("4711", 15),
        ("RTMIN+99", 15),
        ("SIGNONSENSE", 15),
    ],
)
def test_a_stop_signal_by_name_or_number(text: str, number: int) -> None:
    assert signal_number(text) == number
