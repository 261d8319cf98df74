"""Clients of the API that take "later" for an answer, as clients should.

Redis has 0.7 s to answer the API, which then says 503: too little for a disk that other tests keep
busy, since Redis syncs each write.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from verda.exceptions import APIException
from verda.inference_client import InferenceClientError

from tests.api.faces import Faces, deployment
from tests.api.wire import Answer, Headers

PATIENCE_SECONDS = 60.0
# A 503 in the errors that the SDK raises; the last is that there is no status in the answer.
LATER = ("service_unavailable", "503 Server Error", "'Status'")
Given = TypeVar("Given")


class PatientFaces(Faces):
    """Both clients; they ask again where the API says that it can't answer now."""

    @property
    def impatient(self) -> Faces:
        """The same, to whom a 503 is an answer."""
        return Faces(self.port, self.key, self.token)

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

    def create(self, route: str, body: dict[str, Any]) -> None:
        """A POST that makes something. A call that was not answered may have made it."""
        self._once(201, 409, "POST", route, body)

    def delete(self, route: str) -> None:
        """A DELETE, to its end. A call that was not answered may have done it."""
        answer = self._once(200, 404, "DELETE", route)
        assert b"terminating" not in answer.body, answer

    def deploy(self, name: str = "hello", **changes: Any) -> str:
        """As ever."""
        self.create("/job-deployments", deployment(name, **changes))
        return name

    def submit(self, name: str, path: str = "/", body: bytes = b"", **more: str) -> str:
        """As ever, under an id of its own choice: asked again, it is the same job."""
        given = {header.replace("_", "-"): value for header, value in more.items()}
        return super().submit(name, path, body, **{"X-Inference-Id": str(uuid4())} | given)

    def _once(self, done: int, done_before: int, *call: Any) -> Answer:
        answer, wanted = super().control(*call), {done}
        if is_later(answer):
            answer, wanted = self.control(*call), {done, done_before}
        assert answer.status in wanted, answer
        return answer


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The first answer that is not "later", if one comes in time; else the last one."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while is_later(answer := ask()) and time.monotonic() < give_up:
        time.sleep(0.1)  # nobody tells when Redis answers again
    return answer


def is_later(answer: Answer) -> bool:
    """Whether the API can't answer now, said as it should; an app's own answer may look like it."""
    if answer.status != 503 or "X-Job-State" in answer:
        return False
    assert answer.json["code"] == "service_unavailable", answer
    assert int(answer["Retry-After"]) > 0
    return True


def answered(ask: Callable[[], Given], *done: str) -> Given | None:
    """What the SDK gives. It raises a 503 like any error: Redis may be slow, and one repeats.

    `done` are codes of errors that a repeat gets if the call before it was done all the same: None.
    """
    give_up, later = time.monotonic() + PATIENCE_SECONDS, False
    while True:
        try:
            return ask()
        except (APIException, InferenceClientError, KeyError) as error:
            if later and getattr(error, "code", None) in done:
                return None
            later = any(words in str(error) for words in LATER)
            if not later or time.monotonic() > give_up:
                raise
            time.sleep(0.1)  # nobody tells when Redis answers again
