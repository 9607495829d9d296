"""The real Codex keeps what `check_app_server` says of it, and so what the fake plays to our other tests."""

from pathlib import Path

import pytest
import trio

from support.check_app_server import CHECKS, Check, Rig, a_server_with_a_token_takes_no_other
from support.check_codex_turns import a_turn_is_told_in_order_and_idle_comes_before_its_end
from support.real_app_server import real_app_server, second_server
from trio_relay.codex.protocol import CallFailed

pytestmark = pytest.mark.codex


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_real_app_server(check: Check, tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with real_app_server(tmp_path) as real:
            await check(Rig(real, real.cwd))


async def test_the_real_app_server_with_a_token(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with real_app_server(tmp_path, token="right") as real:
            await a_server_with_a_token_takes_no_other(Rig(real, real.cwd, "right"))


async def test_the_real_app_server_on_a_socket_file(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with real_app_server(tmp_path, url=f"unix://{tmp_path}/socket") as real:
            await a_turn_is_told_in_order_and_idle_comes_before_its_end(Rig(real, real.cwd))


async def test_a_thread_has_one_server_that_writes_to_it(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with real_app_server(tmp_path) as one, second_server(one) as two:
            rigs = Rig(one, one.cwd), Rig(two, two.cwd)
            async with rigs[0].thread() as (server, thread_id, watch), rigs[1].connect() as other:
                await watch.ended(await server.turn_start(thread_id, "hello", "relay:1"))
                with pytest.raises(CallFailed) as refused:
                    await other.thread_resume(thread_id)
                assert refused.value.has_another_writer
                assert [one.client_id for one in await other.user_messages(thread_id)] == ["relay:1"]
