"""The fake app-server keeps what `check_app_server` says of the real one; in virtual time."""

from pathlib import Path

import pytest
import trio.testing

from support.check_app_server import CHECKS, Check, Rig, a_server_with_a_token_takes_no_other
from support.fake_app_server import fake_app_server


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fake_app_server(
    check: Check, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    with trio.fail_after(60):
        async with fake_app_server() as fake:
            await check(Rig(fake, tmp_path))


async def test_the_fake_app_server_with_a_token(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    with trio.fail_after(60):
        async with fake_app_server(token="right") as fake:
            await a_server_with_a_token_takes_no_other(Rig(fake, tmp_path, "right"))
