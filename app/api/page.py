"""/docs: the API's document for people, as a page that needs no script and no network."""

import re
from typing import Any

from flask import Blueprint, Response, render_template
from markupsafe import Markup, escape

from app.api.entries import Reply, entry
from app.api.openapi import document
from app.api.parts import EVERYWHERE

blueprint = Blueprint("page", __name__, template_folder="templates")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_REF = "#/components/schemas/"


@blueprint.get("/docs")
@entry({200: Reply("A page.", {"type": "string"}, "text/html; charset=utf-8")}, access="none")
def show() -> Response:
    """All of this, for people."""
    told = document()
    usual = {str(status) for status in EVERYWHERE}
    page = render_template("docs.html", told=told, groups=_groups(told), usual=usual, kind=kind)
    return Response(re.sub(r"\s*\n\s*", "\n", page), headers={"Content-Security-Policy": _POLICY})


@blueprint.app_template_filter("marked")
def _marked(text: str) -> Markup:
    """A text whose words in backticks are code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _groups(told: dict[str, Any]) -> list[tuple[dict[str, str], list[dict[str, Any]]]]:
    """Each tag with its operations; those that differ in nothing but the method are one."""
    operations: dict[str, list[dict[str, Any]]] = {}
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            (tag,) = operation["tags"]
            one = {"methods": [method], "path": path} | operation
            _add(operations.setdefault(tag, []), one)
    known = {tag["name"]: tag for tag in told["tags"]}
    order = [*known, *(tag for tag in operations if tag not in known)]
    return [(known.get(tag, {"name": tag}), operations.get(tag, [])) for tag in order]


def _add(operations: list[dict[str, Any]], one: dict[str, Any]) -> None:
    for other in operations:
        if all(other[member] == one[member] for member in ("path", "summary", "responses")):
            other["methods"] += one["methods"]
            return
    operations.append(one)


def kind(schema: dict[str, Any]) -> list[tuple[str, str]]:
    """A schema in a few words: pairs of a text and the name of the form that it is a link to."""
    if ref := schema.get("$ref"):
        name = ref.removeprefix(_REF)
        return [(name, name)]
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return _joined([kind(one) for one in schema[several]])
    if schema.get("type") == "array":
        return [("list of ", ""), *kind(schema.get("items", {}))]
    return [(_word(schema), "")]


def _joined(parts: list[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    found = parts[0]
    for part in parts[1:]:
        found = [*found, (" or ", ""), *part]
    return found


def _word(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    least, most = schema.get("minimum"), schema.get("maximum")
    bounds = "" if least is None else f" {least} to {most}" if most else f" from {least}"
    longest = schema.get("maxLength")
    length = f", at most {longest} characters" if longest else ""
    return f"{schema.get('type', 'anything')}{bounds}{length}"
