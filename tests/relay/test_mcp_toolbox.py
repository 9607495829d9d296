"""What a model sees of the relay's tools: little, closed, and in plain JSON Schema."""

import json

import pytest

from trio_relay.core.model import Delivery
from trio_relay.core.tasks import TaskStatus
from trio_relay.errors import RelayError
from trio_relay.mcp.speaker import origin_of
from trio_relay.mcp.toolbox import INSTRUCTIONS, TOOLS, arguments_of, input_schema
from trio_relay.mcp.tools import Toolbox

#: Characters a token of JSON, at least: tokenizers of today's models need fewer tokens than this says.
CHARACTERS_A_TOKEN = 3.5


def test_all_of_it_takes_a_thousand_tokens_at_most() -> None:
    seen = [
        {"name": tool.name, "description": tool.description, "parameters": input_schema(tool)}
        for tool in TOOLS.values()
    ]
    characters = len(json.dumps(seen, separators=(",", ":"))) + len(INSTRUCTIONS)
    assert characters / CHARACTERS_A_TOKEN <= 1000
    assert len(TOOLS) == 7


@pytest.mark.parametrize("name", TOOLS)
def test_each_has_a_closed_schema_and_something_that_does_it(name: str) -> None:
    schema = input_schema(TOOLS[name])
    assert (schema["type"], schema["additionalProperties"]) == ("object", False)
    for each in schema["properties"].values():
        assert each["type"] in {"string", "integer", "boolean"}, (
            "no null, no reference: every client reads it"
        )
    assert "$ref" not in json.dumps(schema)
    assert not {"from", "sender", "agent"} & set(schema["properties"])
    assert callable(getattr(Toolbox, f"_{name}"))


def test_its_words_are_those_of_the_relay() -> None:
    assert set(input_schema(TOOLS["update_task"])["properties"]["status"]["enum"]) == set(TaskStatus)
    assert set(input_schema(TOOLS["send_message"])["properties"]["delivery"]["enum"]) == set(Delivery)


def test_arguments_are_read_strictly() -> None:
    with pytest.raises(RelayError) as caught:
        arguments_of("reply", {"message_id": 1, "body": "x", "extra": 1})
    assert "unknown field `extra`; reply takes message_id, body" in caught.value.detail


@pytest.mark.parametrize(
    "meta",
    [None, {}, {"x-codex-turn-metadata": "x"}, {"x-codex-turn-metadata": {"thread_id": 7, "session_id": ""}}],
    ids=str,
)
def test_what_says_nothing_of_a_session_names_none(meta: dict[str, object] | None) -> None:
    assert origin_of(meta).sessions == ()
    assert origin_of(meta, sessions=("own",)).sessions == ("own",)


def test_the_session_a_call_names_comes_before_the_one_a_program_was_started_in() -> None:
    meta = {"x-codex-turn-metadata": {"thread_id": "t", "session_id": "s", "turn_id": "u"}}
    origin = origin_of(meta, sessions=("own", "t"))
    assert (origin.sessions, origin.turn) == (("t", "s", "own"), "u")
