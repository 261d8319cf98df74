"""The least that takes a job: a Flask view with one Redis pipeline. And the peer's: a Celery call.

`gunicorn -c python:tests.bench.gunicorn_config tests.bench.bare_view:app`
"""

import os
import uuid

import redis
from flask import Flask, Response, jsonify, request

from tests.bench.peer import run_container

app = Flask(__name__, static_folder=None)
client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])


@app.post("/job")
def job() -> tuple[Response, int]:
    """Keeps the body under a new id and queues the id."""
    job_id = str(uuid.uuid4())
    with client.pipeline(transaction=True) as pipe:
        pipe.hset(f"bench:job:{job_id}", mapping={"state": "queued", "body": request.get_data()})
        pipe.lpush("bench:queue", job_id)
        pipe.execute()
    return jsonify(Id=job_id), 202


@app.post("/task")
def task() -> tuple[Response, int]:
    """Calls the peer's task, with the body in the message."""
    body = request.get_data(as_text=True)
    call = run_container.apply_async(("image", "network", "/", body), queue="bench.nobody")
    return jsonify(Id=call.id), 202


@app.get("/health")
def health() -> Response:
    """Says that it is there."""
    return jsonify(status="ok")
