"""What a client is told when Redis refuses, in the words of each of its versions."""

import pytest
import redis
from flask import Flask

from app.api import errors

TOO_MUCH = "command not allowed when used memory > 'maxmemory'."


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (redis.ConnectionError("refused"), 503, "does not answer"),
        (redis.TimeoutError("timed out"), 503, "does not answer"),
        (redis.ResponseError(f"OOM {TOO_MUCH}"), 503, "is full"),
        (redis.OutOfMemoryError(TOO_MUCH), 503, "is full"),
        (redis.ReadOnlyError("You can't write against a read only replica."), 503, ""),
        (redis.ResponseError("Error running script: attempt to index a nil value"), 500, ""),
    ],
)
def test_not_now_is_503_and_nonsense_of_ours_is_500(
    error: redis.RedisError, status: int, words: str
) -> None:
    app = Flask(__name__)
    errors.install(app)

    @app.get("/")
    def fails() -> str:
        raise error

    answer = app.test_client().get("/")
    assert answer.status_code == status
    assert words in answer.get_json()["message"]
    assert ("Retry-After" in answer.headers) == (status == 503)
