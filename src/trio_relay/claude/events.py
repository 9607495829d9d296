"""What Claude Code says to a hook, and what a hook may answer. Pure; as 2.1.197 and 2.1.329 do it.

Input that is not what we know is no error: a session must go on, so the event is then one that says nothing.
"""

from typing import Any

import msgspec

#: How the text of an event that no person typed begins, in UserPromptSubmit's ``prompt``.
NOTIFICATION = "<task-notification>"


class Event(msgspec.Struct, frozen=True):
    """What we read of a hook's input. `agent_id` is set where a subagent does something, not the session itself."""

    hook_event_name: str = ""
    session_id: str = ""
    cwd: str = ""
    agent_id: str | None = None
    permission_mode: str | None = None
    prompt: str = ""
    source: str = ""
    reason: str = ""
    model: str | None = None
    notification_type: str | None = None
    tool_name: str = ""
    tool_use_id: str | None = None
    tool_input: dict[str, Any] = {}
    tool_response: Any = None

    @property
    def command(self) -> str | None:
        """The command line a shell is to run."""
        command = self.tool_input.get("command")
        return command if self.tool_name == "Bash" and isinstance(command, str) else None

    @property
    def is_typed(self) -> bool:
        """Whether a person typed the prompt, and not a monitor or another program of the session."""
        return not self.prompt.lstrip().startswith(NOTIFICATION)

    @property
    def output(self) -> str:
        """What a tool gave to the model, as text."""
        if isinstance(self.tool_response, str):
            return self.tool_response
        if isinstance(self.tool_response, dict) and isinstance(self.tool_response.get("stdout"), str):
            return str(self.tool_response["stdout"])
        return "\n".join(_texts(self.tool_response))


def _texts(value: Any) -> list[str]:
    """The texts of an MCP tool's answer: a list of parts, maybe below ``content``."""
    if isinstance(value, dict):
        text = value.get("text")
        return [text] if isinstance(text, str) else _texts(value.get("content"))
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


def parse(said: str) -> Event:
    """Read a hook's input; of what cannot be read, an event of no kind."""
    try:
        return msgspec.json.decode(said, type=Event)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Event()


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the hook says in our name: on standard output and error, its exit code, and variables to export."""

    out: str = ""
    err: str = ""
    code: int = 0
    env: dict[str, str] = {}


SILENCE = Answer()


def _output(event: str, **fields: Any) -> Answer:
    said = {"hookSpecificOutput": {"hookEventName": event, **fields}}
    return Answer(out=msgspec.json.encode(said).decode())


def context(event: str, text: str) -> Answer:
    """Give the model something to read (SessionStart, UserPromptSubmit, PostToolUse)."""
    return _output(event, additionalContext=text)


def permission(decision: str, reason: str) -> Answer:
    """Decide before a tool is used: ``allow``, ``deny`` (the model reads why) or ``ask`` (a person is asked)."""
    return _output("PreToolUse", permissionDecision=decision, permissionDecisionReason=reason)


def granted() -> Answer:
    """Answer the question on the screen: yes."""
    return _output("PermissionRequest", decision={"behavior": "allow"})


def denied(message: str) -> Answer:
    """Answer the question on the screen: no; the model reads the message."""
    return _output("PermissionRequest", decision={"behavior": "deny", "message": message})


def feedback(text: str) -> Answer:
    """Wake the session from an ``asyncRewake`` hook: exit code 2, the text on standard error."""
    return Answer(err=text, code=2)
