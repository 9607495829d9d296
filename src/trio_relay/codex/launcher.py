"""`codex-relay`: an app-server, a sidecar and the real TUI on it, from start to a clean end.

The tree, outermost first, is the order of things: who needs something lives inside it and ends before it.

    app-server            restarted where it was when it dies
      the person's thread   the first is found by an observer, because the TUI tells nobody
      sidecar               joins that thread and goes where the person goes; restarted when it dies, unless the relay
                            turned it away
      TUI                   owns the terminal; when it ends, everything does

Without a TUI (``headless``) the sidecar starts a thread of its own and everything runs until a signal. Every process
is on a leash (`leash.py`): nothing outlives us, whichever way we end.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import structlog
import trio

from trio_relay.codex.app_process import AppServerFailed, keep_app_server
from trio_relay.codex.app_server import AppServer, open_app_server
from trio_relay.codex.arguments import (
    MCP_TOKEN_VARIABLE,
    TOKEN_VARIABLE,
    CodexArguments,
    RelayTools,
    tui_command,
)
from trio_relay.codex.configured import own_sandbox
from trio_relay.codex.follow import first_thread
from trio_relay.codex.processes import Command, leashed
from trio_relay.codex.protocol import CallFailed
from trio_relay.codex.run_directory import RunDirectory
from trio_relay.core.timing import backoff
from trio_relay.supervise import keep_connected

log = structlog.get_logger("trio_relay.launcher")

#: A sidecar that ends so will not do better the next time: its settings make no sense, or the relay refused it
#: (a newer instance has taken over this agent, or the token is wrong).
_FINAL = {2: "its settings cannot be used", 3: "the relay turned it away"}
#: The sidecar says goodbye to the relay first, which may take this long when the relay is slow. Seconds.
_SIDECAR_GRACE = 5.0
_STABLE_AFTER = 60.0
#: How long an app-server that listens may take to answer, seconds.
_CONNECT_TIMEOUT = 30.0
#: The app-server names itself to the model's provider after the first client it meets (Codex 0.169). Our observer
#: must be there before the TUI starts its thread, but the session is the TUI's.
_ORIGINATOR = {"CODEX_INTERNAL_ORIGINATOR_OVERRIDE": "codex-tui"}
_STATE_PATH = "AGENT_RELAY_CODEX_STATE_PATH"
_RELAY_TOKEN = "AGENT_RELAY_TOKEN"  # noqa: S105  # a name, no secret


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. `sidecar` is its command; `environment` is every child's; `chance` answers in ``[0, 1)``.

    `port` is the app-server's, 0 for any that is free. `tools` gives the model the relay's tools. `thread_mode` and
    `thread_id` are the sidecar's when there is no TUI; with one, the TUI decides.
    """

    codex: str
    arguments: CodexArguments
    sidecar: Sequence[str]
    environment: Mapping[str, str]
    cwd: str
    chance: Callable[[], float]
    headless: bool = False
    port: int = 0
    thread_mode: str = "start"
    thread_id: str | None = None
    tools: RelayTools | None = None

    @property
    def overrides(self) -> tuple[str, ...]:
        """Configuration of the app-server; without a TUI the sidecar chooses the permissions."""
        tools = () if self.tools is None else self.tools.overrides
        return tools if self.headless else (*tools, *self.arguments.as_config)

    def delays(self) -> Iterator[float]:
        """Pauses before each start of a process that keeps dying, seconds."""
        return backoff(0.2, 30.0, self.chance)


@dataclass(slots=True)
class Outcome:
    """How it ended: the exit code, and what the person should know that could not be said on the TUI's terminal.

    `thread_id` is the thread the person was in last.
    """

    exit_code: int = 0
    thread_id: str | None = None
    notices: list[str] = field(default_factory=list)


async def launch(plan: Launch, run: RunDirectory) -> Outcome:
    """Run everything until the TUI (headless: the sidecar) ends or a signal comes.

    Raises `AppServerFailed` when the app-server does not come up.
    """
    outcome = Outcome()
    async with trio.open_nursery() as nursery:
        whole = trio.CancelScope()
        # Outside the scope it cancels: a second Ctrl-C does not cut the cleaning up short.
        await nursery.start(_end_on_signal, plan, outcome, whole)
        with whole:
            await _run_all(plan, run, outcome)
        nursery.cancel_scope.cancel()
    return outcome


async def _end_on_signal(
    plan: Launch, outcome: Outcome, whole: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            log.info("ending", signal=signal.Signals(number).name)
            if not plan.headless and not whole.cancel_called:
                outcome.exit_code = 128 + number
            whole.cancel()


async def _run_all(plan: Launch, run: RunDirectory, outcome: Outcome) -> None:
    environment = _app_server_environment(plan)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(
            partial(
                keep_app_server,
                plan.codex,
                environment,
                plan.cwd,
                run,
                port=plan.port,
                delays=plan.delays,
                overrides=plan.overrides,
            )
        )
        if plan.headless:
            await _keep_sidecar(plan, run, url, (plan.thread_mode, plan.thread_id), outcome)
        else:
            await _with_tui(plan, run, url, outcome)
        nursery.cancel_scope.cancel()


def _app_server_environment(plan: Launch) -> dict[str, str]:
    """What the app-server gets, and with it every shell of the model: no credential that speaks for anybody else.

    Codex 0.169 hides none of it from the model's commands, whatever it is called.
    """
    environment = dict(plan.environment) if plan.headless else {**_ORIGINATOR, **plan.environment}
    if plan.tools is not None and plan.tools.token is not None:
        environment[MCP_TOKEN_VARIABLE] = plan.tools.token
        if plan.tools.token_id is not None and _RELAY_TOKEN in environment:
            environment[_RELAY_TOKEN] = plan.tools.token
    return environment


async def _with_tui(plan: Launch, run: RunDirectory, url: str, outcome: Outcome) -> None:
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(_CONNECT_TIMEOUT) as connecting:
            threads, sandbox = await nursery.start(_observe, plan, run, url)
        if connecting.cancelled_caught:
            raise AppServerFailed(
                f"codex app-server does not answer at {url}: {run.last_words('app-server')}"
            )
        nursery.start_soon(_join_first, plan, run, url, threads, outcome)
        environment = {**plan.environment, TOKEN_VARIABLE: run.token_file.read_text()}
        arguments = tui_command(plan.codex, url, plan.cwd, plan.arguments, own_sandbox=sandbox)
        async with leashed(Command(arguments, environment, plan.cwd, terminal=True)) as tui:
            outcome.exit_code = await tui.wait()
        outcome.thread_id = _last_thread(plan, run, url) or outcome.thread_id
        log.info("the TUI ended", code=outcome.exit_code)
        nursery.cancel_scope.cancel()


async def _observe(
    plan: Launch,
    run: RunDirectory,
    url: str,
    *,
    task_status: trio.TaskStatus[tuple[trio.MemoryReceiveChannel[str], str | None]],
) -> None:
    """Tell which thread the person opens first. `started` once we listen: the TUI may then start its own.

    Also tells the sandbox the TUI begins in by itself, where that can be known and matters.
    """
    send, receive = trio.open_memory_channel[str](1)
    token = run.token_file.read_text()
    listening = False

    def connect() -> AbstractAsyncContextManager[AppServer]:
        return open_app_server(url, token=token)

    async def session(server: AppServer) -> None:
        nonlocal listening
        if not listening:
            sandbox = await _own_sandbox(server, plan)
            listening = True
            task_status.started((receive, sandbox))
        await send.send(await first_thread(server))
        looking.cancel()

    with trio.CancelScope() as looking:
        await keep_connected(connect, session, delays=plan.delays)


async def _own_sandbox(server: AppServer, plan: Launch) -> str | None:
    if not server.can.flags_bar_resume:
        return None
    cwd = plan.arguments.cwd or plan.cwd
    try:
        return own_sandbox(await server.config(cwd), Path(cwd))
    except CallFailed as error:
        log.warning("Codex does not tell its configuration", reason=error.message)
        return None


async def _join_first(
    plan: Launch, run: RunDirectory, url: str, threads: trio.MemoryReceiveChannel[str], outcome: Outcome
) -> None:
    """Have a sidecar join the first thread the person opens; it follows them from there."""
    outcome.thread_id = thread_id = await threads.receive()
    log.info("the person's thread", thread=thread_id)
    await _keep_sidecar(plan, run, url, ("resume", thread_id), outcome)


class _SidecarState(msgspec.Struct, rename="camel"):
    """What we read of the sidecar's state file."""

    app_server_url: str | None = None
    thread_id: str | None = None


def _last_thread(plan: Launch, run: RunDirectory, url: str) -> str | None:
    """Read which thread the sidecar followed the person to last."""
    path = Path(plan.environment.get(_STATE_PATH) or run.state_file)
    try:
        state = msgspec.json.decode(path.read_bytes(), type=_SidecarState)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None  # no sidecar has come that far
    return state.thread_id if state.app_server_url == url else None


async def _keep_sidecar(
    plan: Launch, run: RunDirectory, url: str, thread: tuple[str, str | None], outcome: Outcome
) -> None:
    """Run the sidecar, and again when it dies, until cancelled or until it says that this is pointless."""
    mode, thread_id = thread
    while True:
        for delay in plan.delays():
            await trio.sleep(delay)
            began = trio.current_time()
            environment = _sidecar_environment(plan, run, url, mode, thread_id)
            command = Command(plan.sidecar, environment, plan.cwd, grace=_SIDECAR_GRACE)
            code = await _run_sidecar(command, run, to_stderr=plan.headless)
            if code in _FINAL:
                _give_up(plan, run, code, outcome)
                return
            log.warning("sidecar ended; starting it again", code=code)
            if mode == "start":
                mode = "auto"  # take up the thread its predecessor began; the state file names it
            if trio.current_time() - began >= _STABLE_AFTER:
                break


def _give_up(plan: Launch, run: RunDirectory, code: int, outcome: Outcome) -> None:
    log.error("sidecar ended for good", code=code, reason=_FINAL[code])
    if plan.headless:
        outcome.exit_code = code
        outcome.notices.append(f"the sidecar ended: {_FINAL[code]}")
    else:
        last = run.last_words("sidecar")
        outcome.notices.append(f"the sidecar ended, so no more messages came in: {_FINAL[code]}\n  {last}")


async def _run_sidecar(command: Command, run: RunDirectory, *, to_stderr: bool) -> int:
    if to_stderr:
        async with leashed(command) as process:
            return await process.wait()
    with run.log("sidecar").open("ab") as file:
        async with leashed(command, stdout=file, stderr=subprocess.STDOUT) as process:
            return await process.wait()


def _sidecar_environment(
    plan: Launch, run: RunDirectory, url: str, mode: str, thread_id: str | None
) -> dict[str, str]:
    approval_policy, sandbox = plan.arguments.permissions
    told = {
        "CODEX_APP_SERVER_URL": url,
        "CODEX_APP_SERVER_TOKEN_FILE": str(run.token_file),
        "CODEX_THREAD_MODE": mode,
        "CODEX_THREAD_ID": thread_id,
        "AGENT_RELAY_CODEX_FOLLOW": None if plan.headless else "person",
        "AGENT_RELAY_CODEX_CWD": plan.arguments.cwd or plan.cwd,
        "AGENT_RELAY_CODEX_APPROVAL_POLICY": approval_policy,
        "AGENT_RELAY_CODEX_SANDBOX": sandbox,
        "AGENT_RELAY_CODEX_TOOLS": "off" if plan.tools is None else "on",
        "AGENT_RELAY_CODEX_TOKEN_ID": None
        if plan.tools is None or plan.tools.token_id is None
        else str(plan.tools.token_id),
    }
    # Who wants to take up a thread in a later run keeps the state in a place of their own.
    default = {_STATE_PATH: str(run.state_file)}
    kept = {name: value for name, value in plan.environment.items() if name not in told}
    return default | kept | {name: value for name, value in told.items() if value is not None}
