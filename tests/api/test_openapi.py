"""The API's document and the page that is made of it: valid, complete, and nothing beyond."""

import re

import pytest
from flask import Flask
from openapi_spec_validator import validate

from app.api import openapi
from app.api.data_plane import METHODS
from app.api.errors import STATUS
from app.settings import Settings
from app.web import create_app
from tests.api.faces import Faces
from tests.api.wire import call

URL = "https://jobs.example"
PAGE_BYTES = 64 * 1024
BEYOND = {
    (path, method.lower())
    for path in ("/{deployment}", "/{deployment}/{path}")
    for method in METHODS
}


@pytest.fixture(scope="module")
def app() -> Flask:
    """The application; nothing is asked of it that needs Redis."""
    secrets = {"client_id": "c", "client_secret": "s" * 16, "token_secret": "t" * 32}
    return create_app(Settings.model_validate(secrets | {"public_url": URL}))


def test_it_is_valid_openapi(app: Flask) -> None:
    validate(openapi.build(app, URL))


def test_it_tells_each_route_and_no_other(app: Flask) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    } - {("", "")}
    told = {
        (path, method)
        for path, methods in openapi.build(app, URL)["paths"].items()
        for method in methods
    }
    assert {(path, m) for path, m in routes if m not in ("head", "options")} | BEYOND == told


def test_a_route_without_an_entry_is_a_fault() -> None:
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/new", view_func=lambda: "")
    with pytest.raises(LookupError):
        openapi.build(app, URL)


def test_every_error_is_told_in_the_one_form(app: Flask) -> None:
    responses = openapi.build(app, URL)["components"]["responses"]
    assert {str(status) for status in STATUS.values()} <= responses.keys()
    for answer in responses.values():
        form = answer["content"]["application/json"]["schema"]
        assert form == {"$ref": "#/components/schemas/Error"}


def test_no_two_operations_have_one_id(app: Flask) -> None:
    paths = openapi.build(app, URL)["paths"]
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


def test_an_empty_image_is_one_that_is_not_changed(app: Flask) -> None:
    forms = openapi.build(app, URL)["components"]["schemas"]
    made, changed = (forms[n]["properties"]["image"] for n in ("Container", "ContainerChange"))
    assert {"const": ""} in changed["anyOf"][0]["anyOf"]
    assert {"const": ""} not in made["anyOf"]


def test_it_is_served_to_everyone(api: Faces) -> None:
    answer = call(api.port, "GET", "/v1/openapi.json")
    assert (answer.status, answer["Content-Type"]) == (200, "application/json")
    validate(answer.json)
    assert answer.json["servers"] == [{"url": f"http://127.0.0.1:{api.port}"}]


@pytest.fixture
def page(api: Faces) -> str:
    """The page for people."""
    answer = call(api.port, "GET", "/docs")
    assert (answer.status, answer["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")
    return answer.body.decode()


def test_the_page_has_every_route_and_form(page: str, app: Flask) -> None:
    told = openapi.build(app, URL)
    for path in told["paths"]:
        assert f"<code>{path}</code>" in page
    for name in told["components"]["schemas"]:
        assert f'id="{name}"' in page


def test_the_page_needs_nothing_else(page: str) -> None:
    assert not re.findall(r"<script|<link|<img|src=|@import|url\(", page)
    assert len(page.encode()) < PAGE_BYTES


def test_every_link_of_the_page_leads_somewhere(page: str) -> None:
    ids = re.findall(r'id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
