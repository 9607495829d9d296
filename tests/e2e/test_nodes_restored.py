"""The statements of docs/scaling.md for a PostgreSQL that was restored to an earlier time: clients have seen more than it."""

import re
from pathlib import Path

import psycopg
import trio

from support.nodes import events, local_nodes
from support.postgres import PostgresDatabases
from trio_relay.core.model import RESTORED, AgentStatus
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.settings import ServerSettings

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def statements() -> str:
    found = re.search(r"<!-- tested: restored -->\n```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    assert f"instance_id = '{RESTORED}'" in found[1]
    return found[1]


async def test_no_cursor_of_before_skips_what_comes_after(postgres: PostgresDatabases) -> None:
    with postgres.database() as url, trio.fail_after(60):
        async with local_nodes(ServerSettings(port=0, database_url=url), 1) as (node,):
            await node.relay.register(AgentRegistration(id="bob"))
            for number in range(3):
                await node.relay.send(SendRequest(sender="x", to="bob", body=f"kept {number}"))
        template = url.rpartition("/")[2]
        with postgres.database(template=template) as restored:
            # Life went on after the copy was taken, and clients saw it.
            async with local_nodes(ServerSettings(port=0, database_url=url), 1) as (node,):
                for number in range(5):
                    await node.relay.send(SendRequest(sender="x", to="bob", body=f"lost {number}"))
                seen = await node.relay.inbox("bob", unread=False)
                async with events(node.url, lastEventId="0") as stream:
                    told = [(await stream.receive()).id for _ in range(9)]
            with psycopg.connect(restored, autocommit=True) as connection:
                connection.execute(statements().encode())
            async with local_nodes(ServerSettings(port=0, database_url=restored), 1) as (node,):
                bob = await node.relay.agent("bob")
                assert (bob.status, bob.ready, bob.instance_id) == (AgentStatus.OFFLINE, False, RESTORED)
                new = await node.relay.send(SendRequest(sender="x", to="bob", body="new"))
                assert new.id > max(message.id for message in seen)
                for cursor in ({"after_seq": seen[-1].inbox_seq}, {"since_id": seen[-1].id}):
                    found = await node.relay.inbox("bob", unread=False, **cursor)  # type: ignore[arg-type]
                    assert [message.body for message in found] == ["new"]
                async with events(node.url, lastEventId=str(max(each or 0 for each in told))) as stream:
                    assert (await stream.receive()).kind == "gap"
                    while (event := await stream.receive()).kind != "message.new":
                        pass
                    assert event.data["body"] == "new"
