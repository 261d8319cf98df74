"""Requests are counted in memory that processes share, none of them lost."""

import os
import threading
from collections.abc import Callable

import pytest

from app.traffic import BOUNDS, PLACES, Answered, Traffic, counted, route_of


def of(traffic: Traffic, route: str, origin: str = "api") -> Answered:
    wanted = (route, origin)
    (one,) = (known for known in traffic.answered() if (known.route, known.origin) == wanted)
    return one


def test_processes_and_threads_add_up() -> None:
    traffic = Traffic()

    def count() -> None:
        for _ in range(500):
            traffic.note("submit", 202, 0.5)

    children = []
    for place in range(1, 4):
        child = os.fork()
        if not child:
            traffic.place = place
            threads = [threading.Thread(target=count) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    known = of(traffic, "submit")
    assert known.statuses["2xx"] == known.buckets[-1][1] == 6000
    assert known.sum_seconds == 3000
    assert of(traffic, "status").buckets[-1][1] == 0


def test_a_place_goes_on_where_an_earlier_process_had_it() -> None:
    traffic = Traffic()
    for place in (1, 1 + PLACES):
        traffic.place = place
        traffic.note("probe", 503, 0)
    assert of(traffic, "probe").statuses["5xx"] == 2


def test_a_time_lies_in_the_bucket_whose_bound_it_is_not_above() -> None:
    traffic = Traffic()
    for seconds in (BOUNDS[1], BOUNDS[-1] + 1):
        traffic.note("control", 200, seconds)
    counts = dict(of(traffic, "control").buckets)
    assert (counts[BOUNDS[0]], counts[BOUNDS[1]], counts[BOUNDS[-1]]) == (0, 1, 1)
    assert counts[float("inf")] == 2


def test_an_app_may_say_a_status_beyond_all_classes() -> None:
    traffic = Traffic()
    traffic.note("result", 999, 0, "job")
    known = of(traffic, "result", "job")
    assert known.statuses == {"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 1}
    assert [count for _, count in known.buckets] == [1] * (len(BOUNDS) + 1)


@pytest.mark.parametrize(
    ("path", "origin"), [("/result/d", "job"), ("/d/x", "job"), ("/v1/x", "api"), ("/", "api")]
)
def test_an_answer_that_tells_the_state_of_a_job_is_the_jobs(path: str, origin: str) -> None:
    traffic = Traffic()

    def app(_: object, start: Callable[..., object]) -> list[bytes]:
        start("502 Bad Gateway", [("X-Job-State", "failed")])
        return []

    counted(app, traffic)({"PATH_INFO": path}, lambda *_: None)
    assert of(traffic, route_of(path), origin).statuses["5xx"] == 1


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/hello/x", "submit"),
        ("/hello", "submit"),
        ("/status/hello", "status"),
        ("/result/hello", "result"),
        ("/v1/job-deployments/status", "control"),
        ("/health", "probe"),
        ("/ready", "probe"),
        ("/metrics", "metrics"),
        ("/", "other"),
        ("", "other"),
    ],
)
def test_a_request_is_told_by_the_first_part_of_its_path(path: str, route: str) -> None:
    assert route_of(path) == route


def test_an_application_that_breaks_is_counted_as_a_fault() -> None:
    traffic = Traffic()

    def broken(*_: object) -> object:
        raise ValueError

    with pytest.raises(ValueError):
        counted(broken, traffic)({"PATH_INFO": "/v1/x"}, lambda *_: None)
    assert of(traffic, "control").statuses["5xx"] == 1
