"""What a session gets of a relay: its tools, and the most limited token there is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from support.relay_process import relay_process
from trio_relay.cli.sessions.session_tools import begin, end
from trio_relay.client import RelayClient, admin
from trio_relay.codex.arguments import RelayTools
from trio_relay.core.access import Scope
from trio_relay.core.wire_access import TokenRequest
from trio_relay.settings import AgentSettings


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayClient]:
    async with relay_process(tmp_path) as (_, url), RelayClient.open(url) as client:
        yield client


async def test_a_session_gets_a_token_of_its_own_until_it_ends(relay: RelayClient) -> None:
    with trio.fail_after(60):
        agent = AgentSettings(relay_url=relay.url)
        tools = await begin(agent)
        assert tools is not None
        assert tools.token_id is not None
        (token,) = await admin.list_tokens(relay)
        assert (token.id, token.agent_id) == (tools.token_id, None)
        assert set(token.scopes) == {Scope.SEND, Scope.RECEIVE, Scope.CLAIM}
        assert token.expires_at is not None
        async with RelayClient.open(relay.url, tools.token) as mine:
            assert set((await mine.whoami()).scopes) == set(token.scopes)
        await end(agent, tools.token_id)
        (token,) = await admin.list_tokens(relay)
        assert token.revoked_at is not None


async def test_who_may_not_mint_shares_the_token_there_is(relay: RelayClient) -> None:
    with trio.fail_after(60):
        request = TokenRequest(agent_id="ann", scopes=[Scope.SEND, Scope.RECEIVE])
        own = (await admin.mint_token(relay, request)).token
        assert await begin(AgentSettings(relay_url=relay.url, token=own)) == RelayTools(relay.url, own)
        assert len(await admin.list_tokens(relay)) == 1


async def test_a_relay_that_is_away_is_hoped_for() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    await listener.aclose()
    with trio.fail_after(60):
        agent = AgentSettings(relay_url=url, token="t")
        assert await begin(agent) == RelayTools(url, "t")
        await end(agent, 7)


async def test_a_relay_of_another_kind_has_no_tools(nursery: trio.Nursery) -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, refuse, [listener])
    with trio.fail_after(60):
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        assert await begin(AgentSettings(relay_url=url)) is None
