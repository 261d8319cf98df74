"""JSON schemas of the models that requests are validated with, and of the forms of answers."""

import json
import re
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from app.api.entries import Change, Schema
from app.domain.deployment import IMAGE_SCHEMA
from app.domain.members import Member

_REF = "#/components/schemas/"
_NULL = {"type": "null"}


class _Generator(GenerateJsonSchema):
    """pydantic's, except for what it leaves out of texts with several rules, and for null."""

    def chain_schema(self, schema: core_schema.ChainSchema) -> JsonSchemaValue:
        """Every step is a rule about the same text; pydantic tells the first one only."""
        found: JsonSchemaValue = {}
        for step in schema["steps"]:
            found |= self.generate_inner(step)
        return found

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """In what a client sends, null means not given."""
        found = super().model_schema(schema)
        found.pop("title", None)
        if self.mode == "validation" and issubclass(schema["cls"], Member):
            required, members = found.get("required", ()), found["properties"]
            found["properties"] = {
                name: member if name in required else _or_null(member)
                for name, member in members.items()
            }
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:
        """It would only repeat the name."""
        return False


class Forms:
    """Collects the schemas of a document, by name."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def given(self, body: Any) -> Schema:
        """The schema of what is sent."""
        if isinstance(body, Change):
            self._schema(body.of, "validation")
            return self._change(body.of.__name__)
        return self._schema(body, "validation")

    def answered(self, body: Any) -> Schema:
        """The schema of what is answered."""
        return self._schema(body, "serialization")

    def _schema(self, body: Any, mode: JsonSchemaMode) -> Schema:
        if isinstance(body, dict):  # it is one
            return body
        schema = TypeAdapter(body).json_schema(
            mode=mode, ref_template=f"{_REF}{{model}}", schema_generator=_Generator
        )
        if mode == "serialization":
            schema = _as_answers(schema)
        for name, form in schema.pop("$defs", {}).items():
            self._add(name, form)
        if not (isinstance(body, type) and issubclass(body, BaseModel)):
            return schema
        name = body.__name__ if mode == "validation" else _answer_name(body.__name__)
        return self._add(name, schema)

    def _add(self, name: str, form: Schema) -> Schema:
        if self.components.setdefault(name, form) != form:
            raise ValueError(f"two models are called {name}")
        return {"$ref": f"{_REF}{name}"}

    def _change(self, name: str) -> Schema:
        """What is sent to change such an object: any of its members, and of theirs."""
        form = {k: v for k, v in self.components[name].items() if k != "required"}
        members = {n: self._changed(member) for n, member in form["properties"].items()}
        return self._add(f"{name}Change", form | {"properties": members})

    def _changed(self, member: Schema) -> Schema:
        if member == IMAGE_SCHEMA:
            return _or_null({"anyOf": [*member["anyOf"], {"const": ""}]})
        for schema in (member, *member.get("anyOf", ())):
            name = schema.get("$ref", "").removeprefix(_REF)
            if "properties" in self.components.get(name, ()):
                return _or_null(self._change(name))
        if member.get("maxItems") == 1:  # the one element is meant, whatever it says
            return _or_null(member | {"items": self._changed(member["items"])["anyOf"][0]})
        return _or_null({k: v for k, v in member.items() if k != "default"})


def _as_answers(schema: Schema) -> Schema:
    """The same with other names: what is answered has all members, what is sent need not."""
    forms = schema.get("$defs", {})
    names = {name: _answer_name(name) for name in forms if "properties" in forms[name]}
    text = json.dumps(schema)
    for name, answer in names.items():
        text = text.replace(f'"{_REF}{name}"', f'"{_REF}{answer}"')
    found: Schema = json.loads(text)
    forms = found.get("$defs", {})
    return found | {"$defs": {names.get(name, name): form for name, form in forms.items()}}


def _answer_name(name: str) -> str:
    return name if re.search(r"Out$|^Error$", name) else f"{name}Out"


def _or_null(schema: Schema) -> Schema:
    if _NULL in schema.get("anyOf", ()):
        return schema
    outer = {k: v for k, v in schema.items() if k in ("default", "description")}
    inner = {k: v for k, v in schema.items() if k not in outer}
    return outer | {"anyOf": [inner, _NULL]}
