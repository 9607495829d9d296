"""The published description of the API: an OpenAPI 3.1 document made from what the views say of themselves.

Nothing is written twice: paths and their parameters come from the routes, bodies and answers from the structs the
views decode and encode with, problem answers from what a view's method and parameters allow.
"""

import http
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin

import msgspec
from quart import Blueprint, Response
from quart_trio import QuartTrio
from werkzeug.routing import IntegerConverter, Rule

from trio_relay import __version__
from trio_relay.core.wire import Problem
from trio_relay.relay.service import RelayService
from trio_relay.relay.web.access import INTEGRATIONS, OPEN_PATHS
from trio_relay.relay.web.api import ApiView, Media

Json = dict[str, Any]
_REF = "#/components/schemas/{name}"
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PROBLEMS = {
    400: "A field, a parameter or the request itself is not usable; `errors` names the fields.",
    401: "No credential, or one the relay does not know.",
    403: "This caller may not: the scope, the agent, the Host or the Origin is wrong.",
    404: "What the request names does not exist.",
    408: "The body did not arrive in time.",
    409: "The request contradicts the present state: a stale instance, a held lease, a key used before.",
    413: "The body is larger than this relay accepts.",
    415: "The body's content type is not accepted.",
    429: "Too many of these in a short time; `Retry-After` says when to go on.",
    431: "The request line and headers are larger than this relay accepts.",
    503: "The relay cannot do this now: it is stopping, or its store cannot write. Try again.",
}
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
}
_PROBLEM_HEADERS: dict[int, Json] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
_ABOUT = (
    "JSON in and out, camelCase names, times in integer Unix milliseconds. Unknown request fields are ignored. Every "
    "error is an RFC 9457 problem document with a stable `code`."
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One route with one method, and what its view says of itself."""

    rule: Rule
    method: str
    view: ApiView
    function: Callable[..., Any]

    @property
    def path(self) -> str:
        """The route as OpenAPI writes it: ``/api/agents/{agentId}``."""
        return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", lambda found: "{" + _camel(found[1]) + "}", self.rule.rule)


def operations(app: QuartTrio) -> Iterator[Operation]:
    """Every described route of `app`, in the order of its registration."""
    for rule in app.url_map.iter_rules():
        function = app.view_functions[rule.endpoint]
        view: ApiView | None = getattr(function, "api_view", None)
        if view is not None:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield Operation(rule, method, view, function)


def document(app: QuartTrio, *, token_needed: bool) -> Json:
    """Describe `app`. `token_needed`: whether a call without a credential is refused."""
    found = list(operations(app))
    schemas = _Schemas(found)
    paths: dict[str, Json] = {}
    for operation in found:
        described = _describe(operation, schemas, token_needed=token_needed)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    used = {status for path in paths.values() for each in path.values() for status in each["responses"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "trio-relay",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": _tags(found),
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {_name(status): _problem(status) for status in _PROBLEMS if str(status) in used},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Agent-Relay-Token"},
            },
        },
    }


def openapi_blueprint(service: RelayService, app: QuartTrio) -> Blueprint:
    """The routes of the document."""
    routes = Blueprint("openapi", __name__)
    token_needed = service.settings.token is not None

    @cache
    def encoded() -> bytes:
        # At the first request: by then every route is registered.
        return msgspec.json.encode(document(app, token_needed=token_needed))

    @routes.get("/openapi.json")
    @routes.get("/api/openapi.json")
    async def openapi() -> Response:
        return Response(encoded(), content_type="application/json")

    return routes


class _Schemas:
    """The JSON Schemas of every type the views name, and the components they refer to."""

    def __init__(self, found: list[Operation]) -> None:
        named: dict[Any, None] = {Problem: None}
        for operation in found:
            view = operation.view
            for kind in (view.body, view.query, *view.responses.values()):
                if kind is not None and not isinstance(kind, Media):
                    named.update(dict.fromkeys(_members(kind)))
        schemas, components = msgspec.json.schema_components(named, ref_template=_REF)
        self._schemas = dict(zip(named, schemas, strict=True))
        queries = {operation.view.query.__name__ for operation in found if operation.view.query is not None}
        # A query is parameters, not an object anybody sends.
        self._queries = {name: _tidy(components.pop(name)) for name in queries}
        self.components: Json = _tidy(components)

    def of(self, kind: Any) -> Json:
        """The schema of a type; msgspec does not describe a union of two lists, so its members are described."""
        members = [self._schemas[member] for member in _members(kind)]
        return members[0] if len(members) == 1 else {"anyOf": members}

    def about(self, query: Any) -> str:
        """What a query says of itself."""
        about: str = self._queries[query.__name__].get("description", "")
        return about

    def parameters(self, query: Any) -> list[Json]:
        """The fields of a query as parameters."""
        schema = self._queries[query.__name__]
        return [
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "schema": _without_null(field),
            }
            for name, field in schema["properties"].items()
        ]


def _describe(operation: Operation, schemas: _Schemas, *, token_needed: bool) -> Json:
    view, rule = operation.view, operation.rule
    parameters = [
        {"name": _camel(name), "in": "path", "required": True, "schema": _path_schema(rule, name)}
        for name in re.findall(r"<(?:[^:<>]+:)?([^<>]+)>", rule.rule)
    ]
    if view.query is not None:
        parameters += schemas.parameters(view.query)
    parameters += [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": meaning,
            "schema": {"type": "string"},
        }
        for name, meaning in view.headers
    ]
    described: Json = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": view.summary,
        "parameters": parameters,
        "responses": _responses(operation, schemas),
    }
    if view.body is not None:
        described["requestBody"] = {
            "required": not view.optional_body,
            "content": {"application/json": {"schema": schemas.of(view.body)}},
        }
    if rule.rule in OPEN_PATHS:
        described["security"] = []
    else:
        credentials: list[Json] = [{"bearer": []}, {"header": []}]
        if not token_needed and rule.endpoint.partition(".")[0] != INTEGRATIONS:
            credentials.append({})  # an open relay; integrations bring a token of their own all the same
        described["security"] = credentials
    if about := _about(operation, schemas):
        described["description"] = about
    return described


def _about(operation: Operation, schemas: _Schemas) -> str:
    """What the summary does not say: what the parameters mean, and which token is needed."""
    view = operation.view
    parts = [schemas.about(view.query)] if view.query is not None else []
    if view.scopes and operation.rule.rule not in OPEN_PATHS:
        parts.append(f"Needs a token with the scope {' or '.join(f'`{scope}`' for scope in view.scopes)}.")
    return "\n\n".join(parts)


def _responses(operation: Operation, schemas: _Schemas) -> Json:
    view = operation.view
    responses: Json = {}
    for status, kind in view.responses.items():
        if isinstance(kind, Media):
            content = {kind.content_type.partition(";")[0]: {"schema": {"type": "string"}}}
            responses[str(status)] = {"description": kind.description, "content": content}
        else:
            content = {"application/json": {"schema": schemas.of(kind)}}
            responses[str(status)] = {"description": http.HTTPStatus(status).phrase, "content": content}
    for status in sorted(_problem_statuses(operation)):
        responses[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    return responses


def _problem_statuses(operation: Operation) -> set[int]:
    """Which problems a call may be answered with, as far as its shape tells."""
    view = operation.view
    statuses = {403, 431, 503, *view.errors}
    if operation.rule.rule not in OPEN_PATHS:
        statuses.add(401)
    if view.body is not None:
        statuses |= {400, 408, 413}
    if view.query is not None or view.headers or operation.rule.arguments:
        statuses.add(400)
    if operation.rule.arguments or operation.method in _WRITES:
        statuses.add(404)
    if operation.method in _WRITES:
        statuses.add(409)
    return statuses


def _problem(status: int) -> Json:
    problem: Json = {
        "description": _PROBLEMS[status],
        "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}},
    }
    if status in _PROBLEM_HEADERS:
        problem["headers"] = _PROBLEM_HEADERS[status]
    return problem


def _tags(found: list[Operation]) -> list[Json]:
    about: dict[str, str] = {}
    for operation in found:
        module = sys.modules[operation.function.__module__]
        doc = (inspect.getdoc(module) or "").partition("\n\n")[0].replace("\n", " ")
        about.setdefault(operation.rule.endpoint.partition(".")[0], doc.replace("``", "`"))
    return [{"name": name, "description": doc} for name, doc in about.items()]


def _members(kind: Any) -> tuple[Any, ...]:
    """A type, or the members of a union of types."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _path_schema(rule: Rule, argument: str) -> Json:
    if isinstance(rule._converters[argument], IntegerConverter):  # noqa: SLF001  # werkzeug shows it nowhere else
        return {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
    return {"type": "string", "minLength": 1, "maxLength": 200}


def _without_null(field: Json) -> Json:
    """A query cannot say null: what is not given is absent."""
    field = {name: value for name, value in field.items() if not (name == "default" and value is None)}
    options = [option for option in field.get("anyOf", ()) if option != {"type": "null"}]
    if "anyOf" in field:
        del field["anyOf"]
        field |= options[0] if len(options) == 1 else {"anyOf": options}
    return field


def _tidy(schema: Any) -> Any:
    """Docstrings as people read them: no indentation, no reStructuredText."""
    if isinstance(schema, dict):
        return {
            name: inspect.cleandoc(value).replace("``", "`")
            if name == "description" and isinstance(value, str)
            else _tidy(value)
            for name, value in schema.items()
        }
    return [_tidy(each) for each in schema] if isinstance(schema, list) else schema


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _name(status: int) -> str:
    return f"Problem{status}"
