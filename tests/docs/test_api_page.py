"""docs/api.md is true: its examples answer what they say, and its table of errors is that of the code."""

import ast
import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.reference import DOCS, routes_of
from support.relay import Room, open_room
from trio_relay import errors
from trio_relay.errors import RelayError
from trio_relay.relay.web.problems import _HTTP_CODES, STATUS

PAGE = (DOCS / "api.md").read_text()
SOURCE = DOCS.parent / "src" / "trio_relay"
#: Described with examples of their own in docs/api-tasks.md, or a stream without an end.
ELSEWHERE = ("/api/pairs", "/api/tasks", "/api/integrations", "/api/events")
#: What ends a process at its start is not answered over HTTP; neither is what a command on the database itself says.
AT_START = {
    "address_in_use",
    "backup_failed",
    "bad_database_url",
    "bad_integrations",
    "bad_store",
    "cannot_listen",
    "copy_failed",
    "damaged",
    "exists",
    "in_use",
    "integration_token_shared",
    "no_database",
    "no_driver",
    "not_a_relay_database",
    "not_empty",
    "not_found",
    "open_bind",
    "restored_failed",
    "store_in_use",
    "store_too_new",
    "store_too_old",
}

#: What only the pages for people say, as sentences.
ON_PAGES = {"name_taken", "not_a_form"}


@dataclass(frozen=True)
class Example:
    """One curl line: what it asks, the status it answers, the variable it sets."""

    method: str
    path: str
    body: str | None
    headers: dict[str, str]
    status: int
    sets: str | None


def examples() -> list[tuple[str, int, str | None]]:
    found = re.findall(r"^(curl -s .*?) +# (\d{3})(?: sets \$(\w+))?$", PAGE, re.MULTILINE)
    return [(line, int(status), name or None) for line, status, name in found]


def example(line: str, status: int, sets: str | None, variables: dict[str, str]) -> Example:
    for name, value in variables.items():
        line = line.replace(f"${name}", value)
    assert "$" not in line, line
    words = shlex.split(line)[2:]
    method, body, path = "GET", None, ""
    headers: dict[str, str] = {}
    while words:
        match words.pop(0):
            case "-X":
                method = words.pop(0)
            case "-d":
                body = words.pop(0)
                method = "POST" if method == "GET" else method
            case "-H":
                name, value = words.pop(0).split(": ", 1)
                headers[name] = value
            case word:
                path = word
    return Example(method, path, body, headers, status, sets)


def _token(answer: Any, name: str) -> str:
    return str(answer["leaseToken" if name == "LEASE" else name.lower()])


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Room]:
    """A relay in real time: pages made from templates hop through a thread, which virtual time does not wait for."""
    async with open_room(tmp_path) as opened:
        yield opened


async def test_every_example_answers_what_the_page_says(served: Room) -> None:
    variables = {"RELAY": ""}
    asked: set[str] = set()
    rules = served.app.url_map.bind("127.0.0.1")
    for line, status, sets in examples():
        ask = example(line, status, sets, variables)
        response = await served.http(ask.method, ask.path, content=ask.body, headers=ask.headers)
        assert response.status_code == ask.status, f"{line}: {response.text}"
        if ask.sets is not None:
            variables[ask.sets] = _token(response.json(), ask.sets)
        rule, _ = rules.match(ask.path.partition("?")[0], ask.method, return_rule=True)
        asked.add(f"{ask.method} {re.sub(r'<[^>]+>', ':id', rule.rule)}")
    wanted = {route for route in routes_of(served.app) if not route.split()[1].startswith(ELSEWHERE)}
    assert wanted - asked == set()


def documented_codes() -> set[tuple[int, str]]:
    table = PAGE[PAGE.index("## Errors") :]
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", table, re.MULTILINE)
    return {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}


def _status(kind: type[RelayError]) -> int:
    return next(STATUS[each] for each in kind.__mro__ if each in STATUS)


def raised_codes() -> set[tuple[int, str]]:
    """Every code the server's rooms raise with its status, read from their source; those made of parts aside."""
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, RelayError)
    }
    found: set[tuple[int, str]] = {(status, code) for status, code in _HTTP_CODES.items()}
    for file in sorted(path for room in ("relay", "core", "store") for path in (SOURCE / room).rglob("*.py")):
        for call in _calls(file):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name == "Refusal":
                status, code = (ast.literal_eval(argument) for argument in call.args[:2])
                found.add((status, code))
            elif name in kinds:
                given = [word.value for word in call.keywords if word.arg == "code"]
                if not given:
                    found.add((_status(kinds[name]), kinds[name].default_code))
                elif isinstance(given[0], ast.Constant):
                    found.add((_status(kinds[name]), str(given[0].value)))
    return found


def _calls(file: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]


def test_every_code_of_the_code_is_on_the_page_with_its_status() -> None:
    raised = {(status, code) for status, code in raised_codes() if code not in AT_START | ON_PAGES}
    assert raised - documented_codes() == set()
    made_of_parts = {"target_refused", "channel_refused", "pair_not_pending", "pair_not_active"}
    assert {code for _, code in documented_codes() - raised} == made_of_parts
