"""Older versions of the real Codex, held to the same beliefs as the newest, but for what `Capabilities` tells apart.

Not in the default run: ``CODEX_VERSIONS=all`` (CI) or ``CODEX_VERSIONS=0.130.0`` runs them.
"""

from pathlib import Path

import pytest
import trio

from support.check_app_server import CHECKS, Check, Rig
from support.codex import older_versions
from support.real_app_server import real_app_server

pytestmark = pytest.mark.codex


@pytest.mark.parametrize("version", older_versions())
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_an_older_app_server(check: Check, version: str, tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with real_app_server(tmp_path, version=version) as real:
            await check(Rig(real, real.cwd))
