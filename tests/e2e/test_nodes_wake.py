"""Two nodes on one PostgreSQL: what is done on one is heard of on the other at once."""

from collections.abc import AsyncIterator

import pytest
import trio

from support.nodes import LocalNode, Waiting, events, local_nodes, message_events, polls_hang
from trio_relay.client import approvals
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.core.wire_approvals import ApprovalRequest, ApprovalState, Decision
from trio_relay.relay.nodes import Node
from trio_relay.settings import ServerSettings

#: Seconds in which everything here happens, many times over.
SOON = 30.0


@pytest.fixture
async def nodes(postgres_url: str) -> AsyncIterator[list[LocalNode]]:
    async with local_nodes(ServerSettings(port=0, database_url=postgres_url)) as running:
        for name in ("bob", "cat"):
            await running[0].relay.register(AgentRegistration(id=name))
        yield running


async def test_a_send_answers_the_poll_and_the_stream_on_another_node(nodes: list[LocalNode]) -> None:
    a, b = nodes
    with trio.fail_after(SOON):
        async with events(b.url) as stream, trio.open_nursery() as nursery:
            place = 0
            for number in range(20):
                waiting = Waiting(nursery, b, "bob", after_seq=place)
                await polls_hang(b, 1)
                await a.relay.send(SendRequest(sender="x", to="bob", body=f"hello {number}"))
                await waiting.done.wait()
                assert [message.body for message in waiting.found] == [f"hello {number}"]
                place = waiting.found[0].inbox_seq
            assert await message_events(stream, 20) == [f"hello {number}" for number in range(20)]


async def test_an_answer_given_on_one_node_is_heard_on_another(nodes: list[LocalNode]) -> None:
    a, b = nodes
    request = ApprovalRequest(agent_id="bob", tool="Bash", summary="rm -r build")
    with trio.fail_after(SOON):
        question = await approvals.ask(a.relay, request)
        heard: list[ApprovalState] = []

        async def wait() -> None:
            heard.append((await approvals.get_approval(b.relay, question.id, wait=SOON)).state)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await polls_hang(b, 1)
            await approvals.decide(a.relay, question.id, Decision.ALLOW)
    assert heard == [ApprovalState.ALLOWED]


async def test_what_a_dying_node_did_not_tell_is_found_all_the_same(
    nodes: list[LocalNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = nodes
    with trio.fail_after(SOON):
        async with events(b.url) as stream, trio.open_nursery() as nursery:
            waiting = Waiting(nursery, b, "bob")
            await polls_hang(b, 1)
            with monkeypatch.context() as patch:
                patch.setattr(Node, "tell", lambda *_: None)  # it dies between the commit and the telling
                await a.relay.send(SendRequest(sender="x", to="bob", body="last words"))
                a.process.cancel()
            await waiting.done.wait()
            assert [message.body for message in waiting.found] == ["last words"]
            assert await message_events(stream, 1) == ["last words"]


async def test_a_token_revoked_on_one_node_stops_on_the_other(nodes: list[LocalNode]) -> None:
    a, b = nodes
    with trio.fail_after(SOON):
        async with a.http() as http:
            made = (await http.post("/api/tokens", json={"name": "laptop", "scopes": ["observe"]})).json()
            async with b.http(headers={"Authorization": f"Bearer {made['token']}"}) as laptop:
                assert (await laptop.get("/api/stats")).status_code == 200
                assert (await http.delete(f"/api/tokens/{made['id']}")).status_code == 200
                while (answer := await laptop.get("/api/stats")).status_code == 200:
                    await trio.sleep(0.05)
    assert answer.status_code == 401
    assert answer.json()["code"] == "bad_token"
