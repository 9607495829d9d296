"""The fake's own ways: what the newest Codex does not do any more, or does only by luck, and what stands around it."""

import pytest
import trio
import trio.testing

from support.fake_app_server import fake_app_server
from support.mock_model import Text, shell
from trio_relay.codex.app_server import open_app_server
from trio_relay.codex.protocol import CallFailed
from trio_relay.errors import ConnectionLost

Clock = trio.testing.MockClock


async def test_an_old_codex_names_a_turn_that_never_runs(autojump_clock: Clock) -> None:
    async with (
        fake_app_server(version="0.130.0") as fake,
        open_app_server(fake.url, dial=fake.dial) as server,
    ):
        hold = trio.Event()
        fake.model.script = Text("held", hold=hold)
        thread_id = await server.thread_start(approval_policy="never")
        turn_id = await server.turn_start(thread_id, "one", "relay:1")
        await trio.sleep(1)
        assert await server.turn_start(thread_id, "two", "relay:2") != turn_id
        await trio.sleep(1)
        assert fake.thread(thread_id).user_texts == ["one\n[relay:1]"]  # and a steer waits for the reply
        hold.set()
        await trio.sleep(1)
        assert fake.thread(thread_id).user_texts == ["one\n[relay:1]", "two\n[relay:2]"]
        found = await server.user_messages(thread_id)  # by the ids in the texts: none was given back
        assert [(one.client_id, one.proof) for one in found] == [("relay:1", "text"), ("relay:2", "text")]


async def test_a_turn_that_has_just_been_started_cannot_be_interrupted_yet(autojump_clock: Clock) -> None:
    async with fake_app_server() as fake, open_app_server(fake.url, dial=fake.dial) as server:
        fake.model.script = shell("sleep 60")
        thread_id = await server.thread_start(approval_policy="never")
        turn_id = await server.turn_start(thread_id, "one", "relay:1")
        with pytest.raises(CallFailed, match="no active turn to interrupt"):
            await server.turn_interrupt(thread_id, turn_id)
        await trio.sleep(1)
        await server.turn_interrupt(thread_id, turn_id)


async def test_a_thread_nobody_listens_to_is_unloaded_after_a_minute(autojump_clock: Clock) -> None:
    async with fake_app_server() as fake, open_app_server(fake.url, dial=fake.dial) as server:
        thread_id = await server.thread_start()
        await server.inject(thread_id, "context")
        await server.unsubscribe(thread_id)
        await trio.sleep(59)
        assert await server.loaded_threads() == [thread_id]
        await trio.sleep(2)
        assert await server.loaded_threads() == []
        assert (await server.thread_resume(thread_id)).status == "idle"


async def test_the_fake_serves_a_real_websocket_and_keeps_its_port() -> None:
    with trio.fail_after(60):
        async with fake_app_server() as fake:
            await fake.listen()
            url = fake.url
            async with open_app_server(url) as server:
                thread_id = await server.thread_start()
                await server.inject(thread_id, "context")
                await fake.kill()
                assert [n.method async for n in server.notifications] == ["thread/started"]
            with pytest.raises(ConnectionLost, match="cannot be reached"):
                async with open_app_server(url):
                    pass
            await fake.start()
            async with open_app_server(url) as server:
                assert (await server.thread_resume(thread_id)).status == "idle"
