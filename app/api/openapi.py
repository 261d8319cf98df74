"""/v1/openapi.json: both faces as an OpenAPI 3.1 document, made from what stands beside the routes.

What is described comes from Flask's own map of routes: none can be forgotten, for one without an
entry is a fault when the document is made.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify

from app.api.answers import Error
from app.api.entries import Entry, Reply, Schema, all_beyond_routing, entry, entry_of
from app.api.forms import Forms
from app.api.parts import ERRORS, EVERYWHERE, HEADERS, PATH_PARAMETERS, SECURITY, TAGS
from app.api.services import services

blueprint = Blueprint("openapi", __name__)
INTRODUCTION = """\
Batch jobs: one HTTP request, one container, one deadline. A request to `/{deployment}/…` becomes a
job; `/status/{deployment}` and `/result/{deployment}` tell what became of it. What is under `/v1`
looks after deployments and jobs."""
_KEY = "onejob.openapi"
_METHODS = ("get", "post", "put", "patch", "delete")
_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")  # of a rule of Flask's


@blueprint.get("/v1/openapi.json")
@entry({200: Reply("OpenAPI 3.1.", {"type": "object"})}, access="none")
def show() -> Response:
    """This document. Public: it tells what the server can do, and nothing of what it has."""
    return jsonify(document())


def document() -> dict[str, Any]:
    """The document of the app that handles this request."""
    if _KEY not in current_app.extensions:
        current_app.extensions[_KEY] = build(current_app, services().settings.public_url)
    found: dict[str, Any] = current_app.extensions[_KEY]
    return found


def build(app: Flask, public_url: str) -> dict[str, Any]:
    """The document of an app. Raises LookupError if a route has no entry."""
    forms = Forms()
    paths: dict[str, dict[str, Any]] = {}
    for path, method, view, told, tag in _routes(app):
        paths.setdefault(path, {})[method] = _operation(forms, path, method, view, told) | {
            "tags": [tag]
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Onejob", "version": "1", "description": INTRODUCTION},
        "servers": [{"url": public_url}],
        "tags": TAGS,
        "paths": paths,
        "components": {
            "schemas": dict(sorted(forms.components.items())),
            "headers": HEADERS,
            "responses": {str(status): _error(forms, status) for status in ERRORS},
            "securitySchemes": SECURITY,
        },
    }


def _routes(app: Flask) -> Iterator[tuple[str, str, Callable[..., Any], Entry, str]]:
    """Path, method, view, entry and tag of each route."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        for method in sorted(m.lower() for m in rule.methods or ()):
            if method in _METHODS:
                path = _ARGUMENT.sub(r"{\1}", rule.rule)
                yield path, method, view, entry_of(view), rule.endpoint.partition(".")[0]
    for route in all_beyond_routing():
        yield route.path, route.method, route.view, route.entry, "data_plane"


def _operation(
    forms: Forms, path: str, method: str, view: Callable[..., Any], told: Entry
) -> dict[str, Any]:
    summary, _, text = inspect.cleandoc(view.__doc__ or "").partition("\n")
    members: dict[str, Any] = {
        "operationId": _operation_id(method, path),
        "summary": summary,
        "description": text.strip(),
        "parameters": [*_in_path(path), *_given(told)],
        "requestBody": _request_body(forms, told),
        "responses": _answers(forms, told),
        "security": [] if told.access == "none" else [{told.access: []}],
    }
    return {name: value for name, value in members.items() if value or name == "security"}


def _operation_id(method: str, path: str) -> str:
    words = [word for word in re.split(r"[^a-z0-9]+", path.removeprefix("/v1")) if word]
    return "_".join([method, *words])


def _in_path(path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        known = PATH_PARAMETERS.get(name, {"schema": {"type": "string", "minLength": 1}})
        yield {"name": name, "in": "path", "required": True} | known


def _given(told: Entry) -> Iterator[dict[str, Any]]:
    for one in told.parameters:
        where = {"name": one.name, "in": one.place, "required": one.required}
        yield where | {"description": one.text, "schema": one.schema}


def _request_body(forms: Forms, told: Entry) -> dict[str, Any] | None:
    if told.body is None:
        return None
    form = {"schema": forms.given(told.body)} if told.body else {}
    return {"required": bool(form), "content": dict.fromkeys(told.media, form)}


def _answers(forms: Forms, told: Entry) -> dict[str, Any]:
    of_access = () if told.access == "none" else (401,)
    of_body = () if told.body is None else (413,)
    errors = {*EVERYWHERE, *of_access, *of_body, *told.errors}
    found = {str(status): _reply(forms, reply) for status, reply in told.answers.items()}
    for status in sorted(errors - told.answers.keys()):
        found[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return dict(sorted(found.items()))


def _reply(forms: Forms, reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = {"description": reply.text}
    if reply.headers:
        found["headers"] = {n: {"$ref": f"#/components/headers/{n}"} for n in reply.headers}
    if reply.body is not None:
        found["content"] = {reply.media: _media(forms, reply.body)}
    return found


def _media(forms: Forms, body: Any) -> Schema:
    schema = forms.answered(body)
    return {"schema": schema} if schema else {}


def _error(forms: Forms, status: int) -> dict[str, Any]:
    text, headers = ERRORS[status]
    return _reply(forms, Reply(text, Error, headers=headers))
