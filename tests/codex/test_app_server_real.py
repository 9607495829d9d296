"""The real Codex keeps what `check_app_server` says of it, and so what the fake plays to our other tests."""

from pathlib import Path

import pytest
import trio

from support.check_app_server import CHECKS, Check, Rig, a_server_with_a_token_takes_no_other
from support.real_app_server import real_app_server

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
