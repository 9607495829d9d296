"""``trio-relay doctor``: what is wrong here, and what mends it."""

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click
import trio

from trio_relay import __version__
from trio_relay.claude.setup.checks import claude_findings
from trio_relay.cli.beginning.install import codex_home_of
from trio_relay.cli.beginning.install_claude import claude_home_of
from trio_relay.cli.shared.calling import json_option, relay_option
from trio_relay.cli.shared.environment import agent_settings
from trio_relay.cli.shared.failures import FAILED, Command
from trio_relay.cli.shared.logs import log_to_stderr
from trio_relay.cli.shared.terminal import echo_json, printable
from trio_relay.client.http import RelayClient
from trio_relay.codex.app_server import AppServer
from trio_relay.codex.arguments import MCP_SERVER, MCP_TOKEN_VARIABLE, RelayTools
from trio_relay.codex.private_server import private_app_server
from trio_relay.codex.setup.checks import local_findings
from trio_relay.core.versions import difference
from trio_relay.core.wire import Health
from trio_relay.errors import ConnectionLost, Invalid, RelayError
from trio_relay.home.finding import Finding
from trio_relay.settings import AGENT, CLAUDE, SIDECAR, AgentSettings, read_settings
from trio_relay.settings.profiles import find_profile, profiles_path, read_profiles

if TYPE_CHECKING:
    from trio_relay.codex.setup.install import Home

T = TypeVar("T")
#: How long the relay may take to answer, seconds.
_PATIENCE = 5.0
#: How long Codex may take for the call of a tool: it starts, connects and asks. Seconds.
_TOOL_PATIENCE = 60.0
#: A tool that changes nothing and that anybody may use.
_TOOL = "list_agents"
_MARKS = {True: "✓", False: "✗", None: "-"}


@click.command(cls=Command, short_help="Say what is broken here, and what mends it.")
@relay_option
@json_option
@click.pass_context
def doctor(context: click.Context, *, relay_url: str | None, as_json: bool) -> None:
    """Check this machine, Codex, Claude Code and the relay, and say what mends what is broken.

    A line each: ✓ well, ✗ broken (the fix follows), - not in use. One check is real: a private Codex app-server
    calls a tool of the relay, as the model does. Nothing is changed. Exit code 1: something is broken.
    """
    log_to_stderr(only_warnings=True)
    findings = []
    for finding in examine(relay_url):
        findings.append(finding)
        if not as_json:
            click.echo("\n".join(_lines(finding)))
    broken = [finding for finding in findings if finding.ok is False]
    if as_json:
        echo_json({"ok": not broken, "version": __version__, "checks": [_plain(each) for each in findings]})
    elif broken:
        click.echo(f"\n{len(broken)} broken.")
    if broken:
        context.exit(FAILED)


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{_MARKS[finding.ok]} {finding.name:<9} {printable(finding.detail)}"
    if finding.fix is not None:
        yield f"  {'':<9} fix: {printable(finding.fix)}"


def _plain(finding: Finding) -> dict[str, object]:
    return {"name": finding.name, "ok": finding.ok, "detail": finding.detail, "fix": finding.fix}


def examine(relay_url: str | None) -> Iterator[Finding]:
    """Check one thing after the other, the quick ones first."""
    home = codex_home_of()
    claude = claude_home_of()
    for finding in local_findings(home, os.environ.get("PATH", os.defpath)):
        # Who has Claude Code needs no Codex.
        spared = finding.name == "codex" and home.codex is None and claude.claude is not None
        yield Finding("codex", None, finding.detail) if spared else finding
    yield from claude_findings(claude)
    yield _check_settings()
    try:
        settings = agent_settings(relay_url=relay_url)
    except RelayError as problem:
        yield Finding("token", False, problem.detail, "trio-relay join URL TICKET makes the file anew")
        return
    yield check_profile(settings)
    relay = list(check_relay(settings))
    yield from relay
    if all(finding.ok for finding in relay):
        yield check_reply_path(home, settings)
    else:
        yield Finding("replies", None, "not tried: it needs the relay")


def _check_settings() -> Finding:
    warnings = [each for table in (AGENT, SIDECAR, CLAUDE) for each in read_settings(table, os.environ)[1]]
    if warnings:
        names = ", ".join(sorted({each.env for each in warnings}))
        return Finding(
            "settings", False, "; ".join(each.message for each in warnings), f"correct or unset {names}"
        )
    return Finding("settings", True, "every variable can be used")


def check_profile(settings: AgentSettings) -> Finding:
    """Whether the profile that is asked for exists."""
    fix = "name one that exists in AGENT_RELAY_PROFILE, or add it; `trio-relay profile list` shows them"
    if settings.profile is not None:
        named = find_profile(settings)
        if named.problems:
            return Finding("profile", False, "; ".join(named.problems), fix)
        return Finding("profile", True, f"{settings.profile} of {named.path}")
    path = profiles_path(settings)
    if not path.exists():
        return Finding("profile", None, "none is asked for")
    try:
        names = ", ".join(sorted(read_profiles(path))) or "none"
    except Invalid as problem:
        return Finding("profile", False, problem.detail, "`trio-relay profile check` names every fault")
    return Finding("profile", None, f"none is asked for; {path} has {names}")


def check_relay(settings: AgentSettings) -> Iterator[Finding]:
    """Whether the relay is there, of our version, and takes our token."""
    url = settings.relay_url
    try:
        health = _ask(settings, lambda relay: relay.call("GET", "/healthz", Health))
    except ConnectionLost as problem:
        fix = "`trio-relay serve` in another terminal, or name another relay in AGENT_RELAY_URL"
        yield Finding("relay", False, problem.detail, fix)
        return
    except RelayError as problem:
        name = "token" if problem.code == "bad_token" else "relay"
        yield Finding(
            name, False, problem.detail, f"correct AGENT_RELAY_{'TOKEN' if name == 'token' else 'URL'}"
        )
        return
    if health.version != __version__:
        _, _, fix = (difference(health.version, __version__) or "").partition(": ")
        yield Finding("relay", False, f"the relay at {url} is {health.version}, this is {__version__}", fix)
    else:
        yield Finding("relay", True, f"{url}, version {health.version}")
    try:
        _ask(settings, lambda relay: relay.cursor())
    except RelayError as problem:
        fix = "set AGENT_RELAY_TOKEN to the relay's, or `trio-relay join` it with a ticket"
        yield Finding("token", False, f"the relay refuses us: {problem.detail}", fix)
    else:
        taken = "the relay takes ours" if settings.token else "the relay wants none"
        yield Finding("token", True, taken)


def _ask(settings: AgentSettings, question: Callable[[RelayClient], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with RelayClient.open(settings.relay_url, token=settings.token, timeout=_PATIENCE) as relay:
            return await question(relay)

    return trio.run(ask)


def check_reply_path(home: "Home", settings: AgentSettings) -> Finding:
    """Whether the model can reach the relay from its sandbox: a private app-server calls one of the relay's tools."""
    if home.codex is None:
        return Finding("replies", None, "not tried: it needs Codex")
    tools = RelayTools(settings.relay_url, settings.token)
    program = home.codex.program

    async def call(environment: dict[str, str]) -> str | None:
        async with private_app_server(program, environment, overrides=tools.overrides) as server:
            with trio.move_on_after(_TOOL_PATIENCE):
                return await _tool_refused(server)
            return f"no answer in {_TOOL_PATIENCE:g} s"

    refusal: str | None = None
    try:
        with _codex_environment(home) as environment:
            refusal = trio.run(call, {**environment, MCP_TOKEN_VARIABLE: settings.token or ""})
    except* (RelayError, OSError) as group:
        refusal = str(_first(group))
    if refusal is None:
        return Finding("replies", True, f"Codex has called the relay's tool {_TOOL}")
    fix = "look at what Codex says; without this, replies are the last words of each turn (AGENT_RELAY_CODEX_AUTO_REPLY)"
    return Finding("replies", False, f"Codex cannot call the relay's tools: {refusal}", fix)


@contextmanager
def _codex_environment(home: "Home") -> Iterator[dict[str, str]]:
    """Yield the environment to ask Codex in: its home is a temporary one where it has none, because it would make one.

    Codex 0.169.0 puts some 80 files into ``~/.codex`` when it starts there for the first time. A ``CODEX_HOME`` that
    is set and not there it does not make: it refuses, as it does for the user.
    """
    environment = dict(home.codex.environment) if home.codex else {}
    if environment.get("CODEX_HOME") or home.codex_home.exists():
        yield environment
        return
    # It may write until the moment it is gone.
    with tempfile.TemporaryDirectory(prefix="trio-relay-", ignore_cleanup_errors=True) as directory:
        yield {**environment, "CODEX_HOME": directory}


async def _tool_refused(server: AppServer) -> str | None:
    """Have the app-server call a tool in a thread that is never kept: None, or why it cannot."""
    sandboxed = {"approvalPolicy": "never", "sandbox": "workspace-write", "ephemeral": True}
    thread = await server.call("thread/start", sandboxed)
    called = {"threadId": thread["thread"]["id"], "server": MCP_SERVER, "tool": _TOOL, "arguments": {}}
    answer = await server.call("mcpServer/tool/call", called)
    if not answer.get("isError"):
        return None
    parts = answer.get("content") or [{}]
    return str(parts[0].get("text", "it failed without a word"))


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
