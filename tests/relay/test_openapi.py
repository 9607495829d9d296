"""The published description: valid, complete, and the same as what is served."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from support.relay import Room, open_room
from trio_relay import __version__
from trio_relay.core.events import KINDS, STREAM_KINDS
from trio_relay.settings import ServerSettings

#: Routes for people and programs that are no part of the API.
UNDESCRIBED = {"/", "/docs", "/docs/reference", "/openapi.json", "/api/openapi.json"}


async def document(room: Room) -> Any:
    answer = await room.http("GET", "/openapi.json")
    assert answer.status_code == 200
    return answer.json()


async def test_the_document_is_valid_openapi(room: Room) -> None:
    OpenAPIV31SpecValidator(await document(room)).validate()


async def test_every_route_under_api_is_described(room: Room) -> None:
    described = await document(room)
    for rule in room.app.url_map.iter_rules():
        if not rule.rule.startswith("/api/") or rule.rule in UNDESCRIBED:
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda name: "{" + _camel(name[1]) + "}", rule.rule)
        methods = {method.lower() for method in rule.methods or ()} - {"head", "options"}
        assert path in described["paths"], f"the view of {rule.rule} needs @api"
        assert methods <= set(described["paths"][path]), f"a view of {rule.rule} needs @api"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


async def test_names_are_unique_and_plain(room: Room) -> None:
    described = await document(room)
    operations = [each["operationId"] for path in described["paths"].values() for each in path.values()]
    assert len(operations) == len(set(operations))
    # msgspec falls back to the qualified name when two structs share one.
    assert all(re.fullmatch(r"[A-Z][A-Za-z]*", name) for name in described["components"]["schemas"])


async def test_every_component_is_used(room: Room) -> None:
    answer = await room.http("GET", "/openapi.json")
    for kind, components in answer.json()["components"].items():
        for name in components if kind in {"schemas", "responses"} else ():
            assert f'"#/components/{kind}/{name}"' in answer.text, name


async def test_parameters_say_what_may_be_left_out_and_never_null(room: Room) -> None:
    described = await document(room)
    parameters = {each["name"]: each for each in described["paths"]["/api/messages"]["get"]["parameters"]}
    assert parameters["wait"]["schema"] == {"type": "number", "minimum": 0, "maximum": 60, "default": 0.0}
    assert parameters["sinceId"]["schema"] == {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
    assert "`wait`: answer the moment" in described["paths"]["/api/messages"]["get"]["description"]
    assert not any(parameter["required"] for parameter in parameters.values())
    [identified] = described["paths"]["/api/messages/{messageId}"]["get"]["parameters"]
    assert (identified["in"], identified["required"], identified["schema"]["type"]) == (
        "path",
        True,
        "integer",
    )
    sent = described["paths"]["/api/messages"]["post"]
    assert [each["name"] for each in sent["parameters"]] == ["Idempotency-Key"]
    assert sent["requestBody"]["required"]
    assert not described["paths"]["/api/agents/{agentId}/heartbeat"]["post"]["requestBody"]["required"]


async def test_problems_are_listed_by_what_a_call_can_do_wrong(room: Room) -> None:
    paths = (await document(room))["paths"]
    assert set(paths["/api/messages"]["post"]["responses"]) == {
        "200", "201", "400", "401", "403", "404", "408", "409", "413", "431", "503",
    }  # fmt: skip
    assert set(paths["/api/stats"]["get"]["responses"]) == {"200", "401", "403", "431", "503"}
    assert set(paths["/healthz"]["get"]["responses"]) == {"200", "403", "431", "503"}
    assert "429" in paths["/api/integrations/events"]["post"]["responses"]


def test_the_manual_lists_every_kind_of_event() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    assert [
        kind for kind, tells in {**KINDS, **STREAM_KINDS}.items() if f"| `{kind}` | {tells} |" not in manual
    ] == []


async def test_the_stream_is_described_with_its_kinds(room: Room) -> None:
    stream = (await document(room))["paths"]["/api/events"]["get"]
    assert list(stream["responses"]["200"]["content"]) == ["text/event-stream"]
    assert all(
        f"`{kind}`" in stream["responses"]["200"]["description"] for kind in [*KINDS, "gap", "overrun", "bye"]
    )
    assert {"types", "agent", "lastEventId", "Last-Event-ID"} == {
        each["name"] for each in stream["parameters"]
    }


@pytest.mark.parametrize("token", [None, "secret"])
async def test_the_description_says_whether_a_token_is_needed(
    tmp_path: Path, autojump_clock: object, token: str | None
) -> None:
    async with open_room(tmp_path, ServerSettings(token=token)) as room:
        paths = (await document(room))["paths"]
        bare = await room.http("GET", "/api/openapi.json")
    assert ({} in paths["/api/agents"]["get"]["security"]) == (token is None)
    assert {} not in paths["/api/integrations/events"]["post"]["security"]
    assert paths["/healthz"]["get"]["security"] == []
    assert bare.status_code == (200 if token is None else 401)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("status=null", "status"),
        ("tag=a&tag=b", "tag"),
        ("ready=maybe", "ready"),
        ("status=asleep", "status"),
    ],
)
async def test_a_parameter_is_one_value_of_its_type(room: Room, query: str, path: str) -> None:
    answer = await room.http("GET", f"/api/agents?{query}")
    assert answer.status_code == 400
    assert [error["path"] for error in answer.json()["errors"]] == [path]


async def test_an_unknown_parameter_is_ignored(room: Room) -> None:
    assert (await room.http("GET", "/api/agents?new=1&new=2")).status_code == 200


async def test_the_page_names_every_call_and_object_and_needs_nothing_from_elsewhere(room: Room) -> None:
    described = await document(room)
    page = await room.http("GET", "/docs/reference")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path, methods in described["paths"].items():
        assert f"<code>{path}</code>" in page.text
        assert all(f'id="{operation["operationId"]}"' in page.text for operation in methods.values())
    assert all(f'id="schema-{name}"' in page.text for name in described["components"]["schemas"])
    assert "`" not in page.text
    assert "&lt;code" not in page.text
    assert not re.search(r"<script|<link|<img|src=|url\(|@import", page.text)
    assert set(re.findall(r'href="([^#"]+)', page.text)) == {"/openapi.json"}


async def test_every_link_within_leads_somewhere(room: Room) -> None:
    page = (await room.http("GET", "/docs/reference")).text
    targets, ids = set(re.findall(r'href="#([^"]+)', page)), re.findall(r'id="([^"]+)', page)
    assert targets <= set(ids)
    assert len(ids) == len(set(ids))


async def test_the_page_s_examples_are_accepted(room: Room) -> None:
    page = (await room.http("GET", "/docs/reference")).text
    [call] = re.findall(r'<details id="agents_register_agent">.*?</details>', page, re.DOTALL)
    [example] = re.findall(r"<pre><code>(.*?)</code></pre>", call)
    answer = await room.http("POST", "/api/agents", content=html.unescape(example))
    assert answer.status_code == 201


async def test_the_page_is_served_to_anyone_and_headed_by_the_version(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_room(tmp_path, ServerSettings(token="secret")) as room:
        page = await room.http("GET", "/docs/reference")
    assert page.status_code == 200
    assert f"version {__version__}" in page.text
