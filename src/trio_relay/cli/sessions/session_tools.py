"""What a session's model gets of the relay: its tools, and a token that can speak for nobody else.

The token is minted when the session starts, bound to the agent by its sidecar, which is the first to know it, and
revoked when the session ends. Where our own credential may not mint, the session uses that.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import trio

from trio_relay.client import admin
from trio_relay.client.http import RelayClient
from trio_relay.codex.arguments import RelayTools, free_server_name
from trio_relay.core.access import Scope
from trio_relay.core.wire_access import MintedToken, TokenRequest
from trio_relay.errors import ConnectionLost, RelayError
from trio_relay.settings import AgentSettings

#: Seconds the relay is given to answer: at the start, where it may have to load the tools first, and at the end.
PATIENCE = 5.0
FAREWELL = 2.0
#: A session whose launcher was killed leaves its token behind: it counts this long, ms.
LIFETIME = 30 * 86_400_000


class _Ping(msgspec.Struct):
    jsonrpc: str = "2.0"
    id: int = 1
    method: str = "ping"


@contextmanager
def session_tools(agent: AgentSettings, environ: Mapping[str, str]) -> Iterator[RelayTools | None]:
    """Give the tools for one session; None where the relay has none to offer."""
    tools = trio.run(begin, agent)
    try:
        yield tools and replace(tools, server=free_server_name(*_configurations(environ)))
    finally:
        if tools is not None and tools.token_id is not None:
            trio.run(end, agent, tools.token_id)


def _configurations(environ: Mapping[str, str]) -> Iterator[str]:
    """Read the configurations Codex will read in this directory, those there are."""
    home = Path(environ.get("CODEX_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".codex")
    for path in (home / "config.toml", Path.cwd() / ".codex" / "config.toml"):
        try:
            yield path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue


async def begin(agent: AgentSettings) -> RelayTools | None:
    """Mint the token of a session, where that may be; None where the relay has no tools."""
    async with _relay(agent) as relay:
        try:
            # Its first answer takes the relay a moment; Codex would begin its first turn without the tools.
            await relay.call("POST", "/mcp", dict[str, object], body=_Ping())
            minted = await _mint(relay)
        except ConnectionLost:
            return RelayTools(agent.relay_url, agent.token)  # it is away: whatever is there when Codex looks
        except RelayError:
            return None  # a relay of another kind
    if minted is None:
        return RelayTools(agent.relay_url, agent.token)
    return RelayTools(agent.relay_url, minted.token, minted.id)


async def _mint(relay: RelayClient) -> MintedToken | None:
    scopes = [Scope.SEND, Scope.RECEIVE, Scope.CLAIM]
    if Scope.ADMIN not in (await relay.whoami()).scopes:
        return None
    return await admin.mint_token(relay, TokenRequest(name="codex session", scopes=scopes, ttl_ms=LIFETIME))


async def end(agent: AgentSettings, token_id: int) -> None:
    """Revoke it."""
    async with _relay(agent, FAREWELL) as relay:
        try:
            await admin.revoke_token(relay, token_id)
        except RelayError:
            return  # it is away or has forgotten; the token ends by itself


@asynccontextmanager
async def _relay(agent: AgentSettings, patience: float = PATIENCE) -> AsyncIterator[RelayClient]:
    async with RelayClient.open(agent.relay_url, token=agent.token, timeout=patience) as relay:
        yield relay
