"""What a session may do unasked, by approval mode; and what the questions to a person look like."""

from typing import Any

import pytest

from trio_relay.claude.events import SILENCE, Answer, Event, parse
from trio_relay.claude.gate import Situation, before_tool
from trio_relay.core.approval import Approval


def decision(answer: Answer) -> str | None:
    if answer == SILENCE:
        return None
    return answer.out.partition('"permissionDecision":"')[2].partition('"')[0]


def asked(
    tool: str,
    approval: Approval = Approval.OPEN,
    *,
    relayed: bool = False,
    mode: str | None = "default",
    **given: Any,
) -> str | None:
    event = Event(tool_name=tool, tool_input=given, permission_mode=mode)
    return decision(before_tool(event, Situation("me", approval, relayed)))


def test_our_own_harmless_commands_and_tools_need_no_approval_in_any_mode() -> None:
    for approval in Approval:
        assert asked("Bash", approval, relayed=True, command="trio-relay read 12") == "allow"
        assert asked("mcp__plugin_agent-relay_trio_relay__reply", approval, relayed=True) == "allow"


def test_what_answers_for_a_person_is_refused_in_every_mode() -> None:
    for approval in Approval:
        assert asked("Bash", approval, command="trio-relay approve 1", mode="bypassPermissions") == "deny"


def test_a_skills_grant_for_our_commands_runs_no_program() -> None:
    """Claude Code takes a hook's ``ask`` before what a skill or a setting allows (2.1.329)."""
    assert asked("Bash", command="agent-relay claim 12 -- make test") == "ask"
    assert asked("Bash", command="agent-relay claim 12") == "allow"
    assert asked("Bash", command="agent-relay claim 12 -- make test", mode="bypassPermissions") is None


def test_open_leaves_everything_else_to_claude_code() -> None:
    for tool in ("Bash", "Edit", "mcp__other__tool"):
        assert asked(tool, relayed=True, command="make", mode="bypassPermissions") is None


@pytest.mark.parametrize("tool", ["Bash", "Edit", "Write", "MultiEdit", "NotebookEdit"])
def test_guarded_asks_in_turns_that_a_message_has_reached(tool: str) -> None:
    assert asked(tool, Approval.GUARDED, relayed=True, command="make") == "ask"
    assert asked(tool, Approval.GUARDED, command="make") is None, "the person's own turn"
    assert asked("Read", Approval.GUARDED, relayed=True) is None


@pytest.mark.parametrize("tool", ["Edit", "Write", "MultiEdit", "NotebookEdit"])
@pytest.mark.parametrize("relayed", [True, False])
def test_read_only_edits_nothing_whoever_asks(tool: str, relayed: bool) -> None:
    assert asked(tool, Approval.READ_ONLY, relayed=relayed, mode="acceptEdits") == "deny"


@pytest.mark.parametrize(
    ("mode", "expected"), [("default", None), ("auto", "ask"), ("bypassPermissions", "ask")]
)
def test_read_only_asks_for_commands_where_claude_code_would_not(mode: str, expected: str | None) -> None:
    assert asked("Bash", Approval.READ_ONLY, mode=mode, command="make") == expected


def test_what_a_tool_showed_is_found_in_every_form_it_comes_in() -> None:
    said = '{"tool_name": "x", "tool_response": %s}'
    for response, expected in (
        ('{"stdout": "out", "stderr": "e"}', "out"),
        ('"plain"', "plain"),
        ('[{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]', "a\nb"),
        ('{"content": [{"type": "text", "text": "a"}]}', "a"),
        ("5", ""),
        ("null", ""),
    ):
        assert parse(said % response).output == expected
