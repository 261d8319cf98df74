"""Clients of the API that take "later" for an answer, as clients should.

Redis has 0.7 s to answer the API, which then says 503: too little for a disk that other tests keep
busy, since Redis syncs each write.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from tests.api.faces import Faces, deployment
from tests.api.wire import Answer, Headers

PATIENCE_SECONDS = 60.0


class PatientFaces(Faces):
    """Both clients; they ask again where the API says that it can't answer now."""

    def data(
        self, method: str, path: str, headers: Headers | None = None, body: bytes | None = None
    ) -> Answer:
        """As ever."""
        return patiently(partial(super().data, method, path, headers, body))

    def control(self, method: str, path: str, body: Any = None) -> Answer:
        """As ever."""
        return patiently(partial(super().control, method, path, body))

    def result(self, name: str, job_id: str) -> Answer:
        """As ever."""
        return patiently(partial(super().result, name, job_id))

    def deploy(self, name: str = "hello", **changes: Any) -> str:
        """As ever. A call that was not answered may have made it."""
        route, body = "/job-deployments", deployment(name, **changes)
        answer, made = super().control("POST", route, body), [201]
        if is_later(answer):
            answer, made = self.control("POST", route, body), [201, 409]
        assert answer.status in made, answer
        return name

    def submit(self, name: str, path: str = "/", body: bytes = b"", **more: str) -> str:
        """As ever, under an id of its own choice: asked again, it is the same job."""
        given = {header.replace("_", "-"): value for header, value in more.items()}
        return super().submit(name, path, body, **{"X-Inference-Id": str(uuid4())} | given)


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The first answer that is not "later", if one comes in time; else the last one."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while is_later(answer := ask()) and time.monotonic() < give_up:
        time.sleep(0.1)  # nobody tells when Redis answers again
    return answer


def is_later(answer: Answer) -> bool:
    """Whether the API can't answer now; an app's own answer may look like it."""
    return answer.status == 503 and "X-Job-State" not in answer
