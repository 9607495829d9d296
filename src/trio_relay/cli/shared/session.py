"""Which agent a command speaks as when it is run inside an agent's session: by the agent's program, or by its person.

The session is known by the id its program puts into the environment of what it runs; the relay is asked whose it is.
Else by the state file of its sidecar: the one that is set in the environment, or that of the `codex-relay` among our
parent processes.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
import platformdirs

from trio_relay.cli.shared.completing import agent_ids
from trio_relay.cli.shared.environment import own_agent_id, sidecar_settings
from trio_relay.cli.shared.failures import BAD_INPUT, Failure
from trio_relay.cli.shared.started_in import SESSION_VARIABLES, kept, sessions_of
from trio_relay.core.targets import check_agent_id
from trio_relay.errors import Refused
from trio_relay.mcp.speaker import Origin, Speaker, speaker_of

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient

Function = TypeVar("Function", bound=Callable[..., Any])


class _State(msgspec.Struct, rename="camel"):
    """What we read of a sidecar's state file."""

    agent_id: str | None = None
    pid: int | None = None


def agent_option(function: Function) -> Function:
    """Add ``--agent``, which is also called ``--from``."""
    option = click.option(
        "--agent",
        "--from",
        "agent",
        metavar="AGENT",
        shell_complete=agent_ids,
        help="Who is meant; default: the agent of the session this is run in.",
    )
    return option(function)


def sender_option(function: Function) -> Function:
    """Add ``--from``, which is also called ``--agent``, to a command that people run as well as sessions."""
    option = click.option(
        "--from",
        "--agent",
        "agent",
        metavar="AGENT",
        shell_complete=agent_ids,
        help="Who you are; default: the agent of the session this is run in, else your mailbox, user@host.",
    )
    return option(function)


async def own_agent(relay: "RelayClient", given: str | None) -> Speaker:
    """Tell which agent this command speaks as.

    Raises:
        Failure: nobody can tell.
        Refused: the token is bound to another agent.
        Conflict: two agents have registered this session.

    """
    found = await _named_or_of_session(relay, given)
    if found is not None:
        return found
    sessions = sessions_of(os.environ)
    where = f"no agent has registered session {sessions[0]}" if sessions else "this is no agent's session"
    raise Failure(
        f"{where} (looked at: your token, {', '.join(SESSION_VARIABLES)}, state files, parent processes): run it in "
        "one that `codex-relay` has started or that has the Claude Code plugin, or name the agent with --agent "
        "(`trio-relay agents` lists them); `trio-relay send` writes as yourself",
        BAD_INPUT,
    )


async def myself(relay: "RelayClient", given: str | None) -> Speaker:
    """Tell who runs this command: the agent of the session it is run in, else the person, by their mailbox.

    A mailbox is an agent that is offline until its owner looks: registered, so that others can answer; offline, which
    says honestly that nobody reads right now, and keeps broadcasts out of a box that may never be opened.
    """
    found = await _named_or_of_session(relay, given)
    return found or await speaker_of(relay, Origin(mailbox=own_agent_id()))


async def _named_or_of_session(relay: "RelayClient", given: str | None) -> Speaker | None:
    if given is not None:
        check_agent_id(given)
        return await speaker_of(relay, Origin(named=given))
    try:
        return await speaker_of(relay, Origin(sessions=sessions_of(os.environ)))
    except Refused as unknown:
        if unknown.code not in {"unknown_session", "unknown_speaker"}:
            raise
    here = kept(os.environ)
    kept_at = sidecar_settings().state_path
    found = _state(Path(kept_at)).agent_id if kept_at is not None else None
    found = (
        (here.agent_id if here is not None else None)
        or found
        or agent_of_parents(platformdirs.user_state_path("trio-relay") / "runs", os.getpid())
    )
    return None if found is None else await speaker_of(relay, Origin(named=found))


def agent_of_parents(runs: Path, pid: int) -> str | None:
    """Find the agent of the session whose `codex-relay` is among the parents of process `pid`.

    A sidecar hangs on a leash, and the leash on the launcher: three generations, no more, because further up are the
    person's own shell and terminal, which other sessions share.
    """
    ours = set(parents(pid))
    for file in runs.glob("*/sidecar.json"):
        state = _state(file)
        if state.pid is not None and ours & set(islice(parents(state.pid), 3)):
            return state.agent_id
    return None


def parents(pid: int) -> Iterator[int]:
    """Follow a process up: itself, its parent, and so on."""
    while pid > 1:
        yield pid
        parent = _parent(pid)
        if parent is None:
            return
        pid = parent


def _parent(pid: int) -> int | None:
    with suppress(OSError):
        # The program's name stands in parentheses and may hold anything, spaces and parentheses too.
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    with suppress(OSError, ValueError):  # no /proc: macOS
        import subprocess  # noqa: PLC0415  # commands start quickly

        command = ["ps", "-o", "ppid=", "-p", str(pid)]
        return int(subprocess.run(command, capture_output=True, check=False).stdout)  # noqa: S603
    return None


def _state(file: Path) -> _State:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_State)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return _State()
