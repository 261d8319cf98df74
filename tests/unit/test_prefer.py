"""How long a client wants to wait for the result, by its Prefer headers."""

import pytest

from app.api.prefer import Preferences

LIMIT = 290


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], 0),
        (["respond-async"], 0),
        (["respond-async-proxy"], 0),
        (["respond-async-container"], LIMIT),
        (["Respond-Async-Container; x=y"], LIMIT),
        (["wait=5"], 5),
        (['WAIT = "5"'], 5),
        (["wait=5; x=y"], 5),
        (["respond-async, wait=5"], 5),
        (["handling=strict", "wait=5"], 5),
        (["wait=0"], 0),
        (["wait=291"], LIMIT),
        (["wait=" + "9" * 5000], LIMIT),
        (["wait=5, wait=7"], 5),
        (["wait=x, wait=7"], 0),
        (["respond-async-container, wait=5"], 5),
        (["respond-async-container, wait=x"], LIMIT),
        (["respond-async-container, wait=0"], 0),
        (["respond-async-proxy, wait=5"], 0),
        (["wait=-5"], 0),
        (["wait=5.5"], 0),
        (['wait="5'], 0),
        (["waiting=5"], 0),
        (['x="wait=5, wait=6"'], 0),
        (["wait=\xb2"], 0),
    ],
)
def test_how_long_an_answer_may_wait(values: list[str], seconds: float) -> None:
    headers = [("Prefer", value) for value in values]
    assert Preferences.of(headers).held_seconds(LIMIT) == seconds
