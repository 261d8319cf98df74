"""`onejob up`: starts everything on embedded defaults, runs a real job through it, serves.

What is started is stopped at the end, replicas too: by Ctrl-C at any moment, by an error, or, with
`--once`, after the job.
"""

import json
import signal
import subprocess
import sys
import time
from types import FrameType

from app.children import ChildFailed
from app.client import Answer, Client, Refused
from app.stack import Layout, NoRedis, PortTaken, Stack
from app.story import Stopwatch, Story

EXAMPLE_IMAGE = "onejob-hello:1"
EXAMPLE_PATH = "/job?duration=2"
EXAMPLE_BODY = b'{"hello": "world"}'
DEPLOYMENT = "hello"


class Interrupted(Exception):
    """Ctrl-C, or SIGTERM."""


def up(layout: Layout, once: bool, story: Story) -> int:
    """Runs the whole story; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    stack: Stack | None = None
    try:
        stack = Stack(layout)
        stack.check_ports()
        return _run(stack, once, story)
    except Interrupted:
        return 130
    except (ChildFailed, NoRedis, PortTaken, Refused, OSError) as error:
        story.error(f"onejob: {error}")
        return 1
    finally:
        _stop(stack, story)


def _run(stack: Stack, once: bool, story: Story) -> int:
    story.title("Onejob: one HTTP request, one container, one deadline")
    _prepare(stack)
    _start(stack, story)
    client = Client(
        stack.layout.url,
        stack.credentials.client_id,
        stack.credentials.client_secret,
        stack.credentials.inference_key,
    )
    succeeded = _example(client, stack, story)
    if once:
        return 0 if succeeded else 1
    _tell_how(stack, story)
    return _serve(stack)


def _prepare(stack: Stack) -> None:
    argv = [sys.executable, "-m", "workers.prepare", "--example"]
    argv += ["--spool", str(stack.layout.spool)]
    sys.stdout.flush()
    # In this terminal, so that its progress is seen; it stops with the same Ctrl-C.
    done = subprocess.run(argv, check=False, env=stack.environ())
    if done.returncode != 0:
        raise ChildFailed("preparing the engine failed, see above")


def _start(stack: Stack, story: Story) -> None:
    stack.start_redis()
    story.step("redis", f"append-only file in {stack.layout.data / 'redis'}")
    stack.ensure_inference_key()
    stack.start_api()
    story.step("api", stack.layout.url)
    stack.start_worker()
    story.step("worker", "ready")
    stack.start_flower()
    story.step("flower", stack.layout.flower_url)


def _example(client: Client, stack: Stack, story: Story) -> bool:
    _ensure_deployment(client, story)
    answer = client.data("POST", f"/{DEPLOYMENT}{EXAMPLE_PATH}", body=EXAMPLE_BODY)
    job_id = answer.json()["Id"]
    story.step("job", f"{job_id}  POST /{DEPLOYMENT}{EXAMPLE_PATH}")
    status = _follow(client, job_id, stack, story)
    result = _result(client, job_id)
    story.step("result", f"HTTP {result.status}  {result.body.decode('utf-8', 'replace').strip()}")
    return bool(status["State"] == "succeeded")


def _ensure_deployment(client: Client, story: Story) -> None:
    try:
        client.control("POST", "/job-deployments", example_deployment())
        story.step("deployment", f"{DEPLOYMENT} (image {EXAMPLE_IMAGE}), created")
    except Refused as error:
        if error.status != 409:
            raise
        story.step("deployment", f"{DEPLOYMENT}, found again")


def example_deployment() -> dict[str, object]:
    """The deployment that `onejob up` makes of the example app."""
    return {
        "name": DEPLOYMENT,
        "containers": [{"image": EXAMPLE_IMAGE, "exposed_port": 8080}],
        "compute": {"name": "cpu", "size": 1},
        "scaling": {
            "max_replica_count": 2,
            "queue_message_ttl_seconds": 3600,
            "deadline_seconds": 600,
        },
    }


def _follow(client: Client, job_id: str, stack: Stack, story: Story) -> dict[str, str]:
    watch, seen = Stopwatch(), ""
    while True:
        stack.check()
        headers = {"X-Inference-Id": job_id}
        status: dict[str, str] = client.data("GET", f"/status/{DEPLOYMENT}", headers).json()
        state = status["State"]
        if status["Status"] == "Completed":
            mark = "good" if state == "succeeded" else "bad"
            detail = status.get("Error") or ""
            story.step("", f"{story.paint(state, mark)}  {watch}  {detail}".rstrip())
            return status
        if state != seen:
            story.step("", f"{state}  {watch}  {status.get('Replica') or ''}".rstrip())
            seen = state
        story.live(f"{'':<11} {state}  {watch}")
        time.sleep(0.1)  # what a polling client does


def _result(client: Client, job_id: str) -> Answer:
    try:
        return client.data("GET", f"/result/{DEPLOYMENT}", {"X-Inference-Id": job_id})
    except Refused as error:
        body = json.dumps({"code": error.code, "message": str(error)}).encode()
        return Answer(error.status, {}, body)


def _tell_how(stack: Stack, story: Story) -> None:
    known, url = stack.credentials, stack.layout.url
    story.title("Serving; Ctrl-C stops everything that was started.")
    story.step("api", url)
    story.step("flower", f"{stack.layout.flower_url}  onejob / {known.flower_password}")
    story.step("client", f"{known.client_id} / {known.client_secret}")
    story.step("key", known.inference_key)
    story.step("try", f"curl -X POST -H 'Authorization: Bearer {known.inference_key}' \\")
    story.step("", f"  -d '{{}}' '{url}/{DEPLOYMENT}{EXAMPLE_PATH}'")


def _serve(stack: Stack) -> int:
    while True:
        stack.check()
        time.sleep(1)  # ended by a signal, or by a child's end


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


def _stop(stack: Stack | None, story: Story) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if stack is not None:
        stack.stop(lambda name: story.live(f"stopping {name}"))
        story.step("stopped", "")
