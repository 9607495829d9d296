"""``/docs/reference``: the description of the API as one page for people, made on the server from the OpenAPI document.

No script and nothing from elsewhere: it can be read offline, saved, and printed.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape
from quart import Blueprint, Response
from quart_trio import QuartTrio

from trio_relay.core.events import KINDS, STREAM_KINDS
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.openapi import Json, document

_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-cache",
}
#: What the store can hold as an id: a limit nobody needs to be told.
_ANY_ID = 2**63 - 1
_LIMITS = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "maxItems": "at most {} items",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One field or parameter: its name, its type as markup, where it stands, whether it must be there."""

    name: str
    type: Markup
    required: bool
    note: Markup
    place: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One status an operation may answer with."""

    status: str
    meaning: Markup
    type: Markup


@dataclass(frozen=True, slots=True)
class Call:
    """One operation, ready to show."""

    id: str
    method: str
    path: str
    summary: Markup
    description: Markup
    parameters: list[Row]
    body: Markup
    body_optional: bool
    example: str
    answers: list[Answer]


@dataclass(slots=True)
class Section:
    """The operations of one tag."""

    name: str
    about: Markup
    calls: list[Call] = field(default_factory=list)


def docs_blueprint(service: RelayService, app: QuartTrio) -> Blueprint:
    """The route of the page."""
    routes = Blueprint("docs", __name__, template_folder="templates")

    rendered: list[str] = []

    @routes.get("/docs/reference")
    async def reference() -> Response:
        if not rendered:
            # At the first request: by then every route is registered.
            description = document(app, token_needed=service.settings.token is not None)
            # Not render_template(), which runs Quart's own context processors in a thread.
            template = app.jinja_env.get_template("docs.html")
            rendered.append(await template.render_async(page_of(description)))
        return Response(rendered[0], headers=_HEADERS)

    return routes


def page_of(description: Json) -> dict[str, Any]:
    """What the template shows, from an OpenAPI document."""
    schemas = description["components"]["schemas"]
    sections = {tag["name"]: Section(tag["name"], marked(tag["description"])) for tag in description["tags"]}
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            call = _call(description, path, method, operation)
            sections[operation["tags"][0]].calls.append(call)
    return {
        "info": {**description["info"], "description": marked(description["info"]["description"])},
        "sections": list(sections.values()),
        "events": [(kind, marked(meaning)) for kind, meaning in KINDS.items()],
        "stream_events": [(kind, marked(meaning)) for kind, meaning in STREAM_KINDS.items()],
        "problems": sorted(
            (name.removeprefix("Problem"), marked(answer["description"]))
            for name, answer in description["components"]["responses"].items()
        ),
        "schemas": [
            (name, marked(schema.get("description", "")), schema.get("enum", []), rows_of(schema))
            for name, schema in sorted(schemas.items())
        ],
    }


def rows_of(schema: Json) -> list[Row]:
    """The fields of an object."""
    required = schema.get("required", ())
    return [
        Row(name, type_of(each), name in required, escape(note_of(each)))
        for name, each in schema.get("properties", {}).items()
    ]


def marked(text: str) -> Markup:
    """Text of a docstring as markup: what stands in backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped first


def type_of(schema: Json) -> Markup:
    """A schema as a short piece of markup: ``array of <a>Message</a> or null``."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#schema-{}">{}</a>').format(name, name)
    if "anyOf" in schema:
        return Markup(" or ").join(type_of(option) for option in schema["anyOf"])
    if "enum" in schema:
        return Markup(" | ").join(
            Markup("<code>{}</code>").format(json.dumps(value)) for value in schema["enum"]
        )
    kind = schema.get("type", "any")
    if kind == "array":
        return Markup("array of {}").format(type_of(schema.get("items", {})))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return Markup("object of {}").format(type_of(schema["additionalProperties"]))
    return escape(kind)


def note_of(schema: Json) -> str:
    """The limits of a schema, and its default when that says something."""
    options = [schema, *schema.get("anyOf", ())]
    notes = [
        text.format(option[limit])
        for option in options
        for limit, text in _LIMITS.items()
        if option.get(limit, _ANY_ID) != _ANY_ID
    ]
    if schema.get("default") not in (None, [], {}, ""):
        notes.append(f"default {json.dumps(schema['default'])}")
    return ", ".join(dict.fromkeys(notes))


def example_of(schema: Json, schemas: Json) -> Any:
    """The smallest thing of this shape: required fields only."""
    schema = _resolved(schema, schemas)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: example_of(properties[name], schemas) for name in schema.get("required", ())}
    number = max(1, schema.get("minimum", 1))
    examples = {"array": [], "integer": number, "number": number, "boolean": True, "string": "..."}
    return examples.get(schema.get("type", ""))


def _call(description: Json, path: str, method: str, operation: Json) -> Call:
    schemas = description["components"]["schemas"]
    body = operation.get("requestBody")
    schema = body["content"]["application/json"]["schema"] if body else None
    return Call(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=marked(operation["summary"]),
        description=marked(operation.get("description", "")),
        parameters=[
            Row(
                each["name"],
                type_of(each["schema"]),
                each["required"],
                marked(each.get("description") or note_of(each["schema"])),
                each["in"],
            )
            for each in operation["parameters"]
        ],
        body=type_of(schema) if schema else Markup(),
        body_optional=bool(body and not body["required"]),
        example=json.dumps(example_of(schema, schemas), ensure_ascii=False) if schema else "",
        answers=[_answer(description, status, each) for status, each in operation["responses"].items()],
    )


def _answer(description: Json, status: str, answer: Json) -> Answer:
    if "$ref" in answer:
        answer = description["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    content_type, content = next(iter(answer["content"].items()))
    shown = type_of(content["schema"]) if content_type.endswith("json") else escape(content_type)
    return Answer(status, marked(answer["description"]), shown)


def _resolved(schema: Json, schemas: Json) -> Json:
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    return _resolved(options[0], schemas) if options else schema
