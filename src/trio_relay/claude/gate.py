"""What a session may do without being asked, by its approval mode. Pure.

``open``: as Claude Code's own settings say. ``guarded``: in a turn that a relay message has reached, a person is asked
before anything is changed or run. ``read-only``: no file is edited, whoever asks, and commands are asked for wherever
Claude Code would not ask by itself. In every mode our own commands that only speak and read need no approval
(`commands.py`), and a command that answers for a person is refused.
"""

from dataclasses import dataclass

from trio_relay.claude.commands import answers_for_a_person, is_harmless, runs_a_program
from trio_relay.claude.events import SILENCE, Answer, Event, permission
from trio_relay.core.approval import Approval

#: Claude Code's tools that change files (2.1.329).
EDITING = frozenset({"Edit", "MultiEdit", "NotebookEdit", "Write"})
#: Tools of other servers, and those that only look, are Claude Code's to judge.
RUNNING = frozenset({"Bash"})
#: The relay's tools, by whatever name the server bears in a session.
_OWN_SERVERS = ("mcp__plugin_agent-relay_trio_relay__", "mcp__trio_relay__")
#: Modes in which Claude Code asks before a command that could change anything (``permission_mode``).
_ASKING = frozenset({None, "default", "plan", "acceptEdits"})


@dataclass(frozen=True, slots=True)
class Situation:
    """`relayed`: a relay message has reached the running turn."""

    agent_id: str
    approval: Approval
    relayed: bool


def before_tool(event: Event, now: Situation) -> Answer:
    """Decide what a PreToolUse hook says."""
    command = event.command
    if command is not None and answers_for_a_person(command):
        return permission(
            "deny", "This decides what only a person may: they run it in a terminal of their own."
        )
    if event.tool_name.startswith(_OWN_SERVERS) or (command and is_harmless(command, now.agent_id)):
        return permission("allow", "it only speaks and reads as this session's agent")
    if now.approval is Approval.READ_ONLY:
        return _read_only(event)
    if command is not None and runs_a_program(command) and event.permission_mode in _ASKING:
        return permission("ask", "it runs a program of the model's choice")
    if now.approval is Approval.GUARDED and now.relayed and event.tool_name in EDITING | RUNNING:
        return permission("ask", "this agent is guarded, and the turn is about a relay message")
    return SILENCE


def _read_only(event: Event) -> Answer:
    if event.tool_name in EDITING:
        return permission("deny", "This agent is read-only (AGENT_RELAY_APPROVAL): it changes no file.")
    if event.tool_name in RUNNING and event.permission_mode not in _ASKING:
        return permission("ask", "this agent is read-only: see that the command changes nothing")
    return SILENCE
