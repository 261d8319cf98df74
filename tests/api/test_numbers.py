"""Whole numbers as clients write them: to JSON, and to many a client, 1.0 is 1."""

import json
import re
from typing import Any

import pytest

from app.ledger import Ledger
from tests.api.changes import container, mount, refused, scaling
from tests.api.faces import Faces, deployment

# Where a deployment has whole numbers.
PLACES: list[tuple[dict[str, Any], str]] = [
    (container(exposed_port="N"), "containers[0].exposed_port"),
    (container(healthcheck={"port": "N"}), "containers[0].healthcheck.port"),
    (mount(type="memory", size_in_mb="N"), "containers[0].volume_mounts[0].size_in_mb"),
    ({"compute": {"name": "cpu", "size": "N"}}, "compute.size"),
    (scaling(max_replica_count="N"), "scaling.max_replica_count"),
    (scaling(queue_message_ttl_seconds="N"), "scaling.queue_message_ttl_seconds"),
    (scaling(deadline_seconds="N"), "scaling.deadline_seconds"),
    ({"startup_seconds": "N"}, "startup_seconds"),
    ({"retry_policy": {"max_attempts": "N", "on": ["signalled"]}}, "retry_policy.max_attempts"),
]
places = pytest.mark.parametrize(("change", "field"), PLACES, ids=[name for _, name in PLACES])
A_FRACTION = re.compile(rb'":-?[0-9]+[.eE]')


def written(change: dict[str, Any], number: str) -> bytes:
    """The JSON of a deployment of which one number is written like this."""
    return json.dumps(deployment() | change).replace('"N"', number).encode()


@places
def test_a_whole_number_may_be_written_with_a_fraction(
    api: Faces, ledger: Ledger, change: dict[str, Any], field: str
) -> None:
    made = api.control("POST", "/job-deployments", written(change, "64.0"))
    assert made.status == 201, made
    assert f'"{field.rpartition(".")[2]}":64' in made.body.decode()
    assert not A_FRACTION.search(made.body)  # a client may read whole numbers alone
    for number in ("64", "6.4e1", "640E-1", "64.000"):
        same = api.control("PATCH", "/job-deployments/hello", written(change, number))
        assert (same.status, same.body) == (200, made.body)
    assert ledger.deployments.get("hello").version == 1


@places
def test_what_is_no_whole_number_is_named_with_what_is_allowed(
    api: Faces, change: dict[str, Any], field: str
) -> None:
    for number, shown in (
        ("1.5", "1.5"),
        ("0.9999999999", "0.9999999999"),
        ("true", "true"),
        ('"1"', '"1"'),
        ('"1.0"', '"1.0"'),
        ("1e400", "Infinity"),
        ("-1e400", "-Infinity"),
        ("1e300", "1e+300"),  # and not 301 digits
        ("[1.0]", "this list"),
    ):
        wanted = f"{field}: {shown} is not allowed: must be a whole number"
        assert refused(api, written(change, number)) == wanted


@places
def test_bounds_hold_however_a_number_is_written(
    api: Faces, change: dict[str, Any], field: str
) -> None:
    for number in ("-0.0", "-1.0", "9e15"):
        told = refused(api, written(change, number))
        assert re.fullmatch(rf"{re.escape(field)}: -?\d+…? is not allowed: must be [ao].+", told)
        assert "whole number" not in told


@places
def test_what_json_has_no_number_for_is_named(
    api: Faces, change: dict[str, Any], field: str
) -> None:
    for word in ("NaN", "Infinity", "-Infinity"):
        member = field.rpartition(".")[2]
        wanted = f"the body is not JSON: {member}: {word} is not a number"
        assert refused(api, written(change, word)) == wanted
