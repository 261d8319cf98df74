"""docs/compatibility.md names each route and member of the API, and tests that are there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api import openapi
from app.settings import Settings
from app.web import create_app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "compatibility.md").read_text()
CODE = re.findall(r"`([^`\n]+)`", TEXT)
ROUTE = re.compile(r"((?:[A-Z]+, )*[A-Z]+) (/\S*)")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The API's own document."""
    secrets = {"client_id": "c", "client_secret": "s" * 16, "token_secret": "t" * 32}
    return openapi.build(create_app(Settings.model_validate(secrets)), "http://127.0.0.1")


def test_the_tests_that_it_names_are_there() -> None:
    named = set(re.findall(r"\b((?:api|e2e|unit|ledger|workers)/test_\w+)", TEXT))
    assert named
    assert [name for name in sorted(named) if not (ROOT / "tests" / f"{name}.py").is_file()] == []


def test_it_has_each_route_and_no_other(document: dict[str, Any]) -> None:
    told = {
        (method, match[2])
        for match in filter(None, map(ROUTE.fullmatch, CODE))
        for method in match[1].split(", ")
    }
    there_are = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert told == there_are


def test_it_has_each_member_parameter_and_header(document: dict[str, Any]) -> None:
    words = {word for code in CODE for word in re.split(r"[^\w-]+", code)}
    assert sorted(set(_names(document)) - words) == []


def _names(document: dict[str, Any]) -> Iterator[str]:
    yield from document["components"]["headers"]
    for form in document["components"]["schemas"].values():
        yield from form.get("properties", ())
    for methods in document["paths"].values():
        for operation in methods.values():
            yield from (one["name"] for one in operation.get("parameters", ()))
