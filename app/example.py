"""The example job of `onejob up`: a real one, by way of HTTP."""

import json
import time
import uuid
from collections.abc import Callable

from app.client import Answer, Client, Refused
from app.story import Stopwatch, Story

IMAGE = "onejob-hello:1"
DEPLOYMENT = "hello"
PATH = "/job?duration=2"
BODY = b'{"hello": "world"}'
PATIENCE_SECONDS = 60.0  # with an API that says "later": its Redis waits for the disk, for instance


def deployment() -> dict[str, object]:
    """What is made of the example app."""
    return {
        "name": DEPLOYMENT,
        "containers": [{"image": IMAGE, "exposed_port": 8080}],
        "compute": {"name": "cpu", "size": 1},
        "scaling": {
            "max_replica_count": 2,
            "queue_message_ttl_seconds": 3600,
            "deadline_seconds": 600,
        },
    }


class Example:
    """One run of it. `check` raises where what runs it has ended."""

    def __init__(self, client: Client, story: Story, check: Callable[[], None]) -> None:
        self._client = client
        self._story = story
        self._check = check
        self._headers = {"X-Inference-Id": str(uuid.uuid4())}  # a submit repeated is still one job

    def run(self) -> bool:
        """Tells its life to the end; whether it succeeded. Raises Refused, Unreachable."""
        self._ensure_deployment()
        answer = self._data("POST", f"/{DEPLOYMENT}{PATH}", BODY)
        self._story.step("job", f"{answer.json()['Id']}  POST /{DEPLOYMENT}{PATH}")
        state = self._follow()
        result = self._result()
        words = result.body.decode("utf-8", "replace").strip()
        self._story.step("result", f"HTTP {result.status}  {words}")
        return state == "succeeded"

    def _ensure_deployment(self) -> None:
        try:
            self._patiently(lambda: self._client.control("POST", "/job-deployments", deployment()))
            self._story.step("deployment", f"{DEPLOYMENT} (image {IMAGE}), created")
        except Refused as error:
            if error.status != 409:
                raise
            self._story.step("deployment", f"{DEPLOYMENT}, found again")

    def _follow(self) -> str:
        story, watch, seen = self._story, Stopwatch(), ""
        while True:
            self._check()
            status: dict[str, str] = self._data("GET", f"/status/{DEPLOYMENT}").json()
            state, replica = status["State"], status.get("Replica") or ""
            if status["Status"] == "Completed":
                mark = "good" if state == "succeeded" else "bad"
                detail = status.get("Error") or ""
                story.step("", f"{story.paint(state, mark)}  {watch}  {detail}".rstrip())
                return state
            if state != seen:
                story.step("", f"{state}  {watch}  {replica}".rstrip())
                seen = state
            story.live(f"{'':<11} {state}  {watch}  {replica}".rstrip())
            time.sleep(0.1)  # what a polling client does

    def _result(self) -> Answer:
        try:
            return self._data("GET", f"/result/{DEPLOYMENT}")
        except Refused as error:
            body = json.dumps({"code": error.code, "message": str(error)}).encode()
            return Answer(error.status, {}, body)

    def _data(self, method: str, path: str, body: bytes = b"") -> Answer:
        return self._patiently(lambda: self._client.data(method, path, self._headers, body))

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        """Asks again for a while where the API says "later"."""
        watch, give_up = Stopwatch(), time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call()
            except Refused as error:
                if not _is_later(error) or time.monotonic() > give_up:
                    raise
                self._story.live(f"{'':<11} {error}, trying again  {watch}")
                self._check()
                time.sleep(error.retry_after_seconds or 1)  # as the server asked


def _is_later(error: Refused) -> bool:
    """Whether the API can't answer now; a job's own response may look like it."""
    return error.status == 503 and "x-job-state" not in error.headers
