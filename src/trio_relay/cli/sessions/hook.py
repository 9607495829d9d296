"""``trio-relay hook``: what an agent's program runs at certain moments of a session; installed with ``--hooks``.

Codex 0.130 to 0.169 runs a SessionStart hook at the first turn of a session and after it was resumed, cleared or
compacted, and gives what it prints to the model. The sidecar introduces a session by itself, and again
when the turn is over in which it was compacted. What is left for the hook is the rest of that turn.
"""

import json
import sys
from functools import partial
from typing import TYPE_CHECKING

import click
import msgspec

from trio_relay.cli.shared.failures import Command, Group
from trio_relay.cli.shared.terminal import printable

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient
    from trio_relay.core.prompts import Introduction
    from trio_relay.core.wire import Agent
    from trio_relay.settings import AgentSettings


@click.group(cls=Group)
def hook() -> None:
    """Serve the hooks of an agent's program."""


@hook.group(cls=Group)
def codex() -> None:
    """Serve Codex's hooks."""


@codex.command("session-start", cls=Command, short_help="Tell a compacted session who it is.")
def session_start() -> None:
    """Tell a session that was compacted who it is; reads Codex's JSON from standard input.

    Prints nothing for a session that no agent of the relay is in, for one that begins (its sidecar tells it), and when
    the relay does not answer within AGENT_RELAY_CODEX_HOOK_TIMEOUT_MS.
    """
    import trio  # noqa: PLC0415  # --help stays quick

    from trio_relay.cli.shared.environment import agent_settings, sidecar_settings  # noqa: PLC0415

    thread_id = _compacted(sys.stdin.read())
    if thread_id is None:
        return
    settings, patience = agent_settings(), sidecar_settings()
    auto_reply = patience.auto_reply == "final"
    ask = partial(_look_up, settings, thread_id, auto_reply=auto_reply, patience=patience.hook_timeout)
    text = trio.run(ask)
    if text is not None:
        output = {"hookEventName": "SessionStart", "additionalContext": text}
        click.echo(json.dumps({"hookSpecificOutput": output}))


class _Moment(msgspec.Struct):
    """What we read of Codex's input."""

    session_id: str
    source: str


def _compacted(text: str) -> str | None:
    """Read which session was compacted. A hook that fails would disturb it, so for other input there is nothing to do."""
    try:
        moment = msgspec.json.decode(text, type=_Moment)
    except (msgspec.DecodeError, RecursionError):
        click.echo("trio-relay: standard input is not what Codex gives a SessionStart hook", err=True)
        return None
    return moment.session_id if moment.source == "compact" else None


async def _look_up(
    settings: "AgentSettings", thread_id: str, *, auto_reply: bool, patience: float
) -> str | None:
    import trio  # noqa: PLC0415

    from trio_relay.client.http import RelayClient  # noqa: PLC0415
    from trio_relay.errors import RelayError  # noqa: PLC0415

    try:
        with trio.fail_after(patience):
            async with RelayClient.open(settings.relay_url, token=settings.token) as relay:
                return await context_of(relay, settings.relay_url, thread_id, auto_reply=auto_reply)
    except (RelayError, trio.TooSlowError) as error:  # the session goes on as it is
        click.echo(f"trio-relay: {printable(str(error)) or 'the relay did not answer in time'}", err=True)
        return None


async def context_of(relay: "RelayClient", relay_url: str, thread_id: str, *, auto_reply: bool) -> str | None:
    """Write what the agent in a thread is told of itself; None where there is none."""
    from trio_relay.core.model import AgentStatus  # noqa: PLC0415
    from trio_relay.core.prompts import startup_context  # noqa: PLC0415

    found = await relay.agents(thread=thread_id)
    here = [agent for agent in found if agent.meta.get("threadId") == thread_id]
    present = [agent for agent in here if agent.status is not AgentStatus.OFFLINE]
    if len(present) != 1:
        return None
    # Where this hook is installed the plugin is, and with it the tools.
    return startup_context(_introduction(present[0], relay_url), auto_reply=auto_reply, tools=True)


def _introduction(agent: "Agent", relay_url: str) -> "Introduction":
    from trio_relay.core.approval import parse_approval  # noqa: PLC0415
    from trio_relay.core.prompts import Introduction  # noqa: PLC0415

    channels = agent.meta.get("channels")
    approval, _ = parse_approval(agent.meta.get("approvalMode"))
    return Introduction(
        agent_id=agent.id,
        relay_url=relay_url,
        profile=agent.meta.get("profile"),
        label=agent.label,
        tags=tuple(agent.tags),
        capabilities=tuple(agent.capabilities),
        channels=tuple(channels) if isinstance(channels, list) else (),
        approval=approval,
    )
