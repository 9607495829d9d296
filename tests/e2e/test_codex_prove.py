"""``trio-relay prove``: a canary flies to a real Codex session and back, and no model hears of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from support.codex_session import codex_world

pytestmark = pytest.mark.codex


async def test_a_canary_climbs_every_rung_there_is_without_a_model(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with codex_world(tmp_path) as world, world.headless("alice"), world.headless("bob"):
            alice = await world.agent("alice")
            bob = await world.agent("bob")
            asked = len(world.model.requests)
            command = [sys.executable, "-m", "trio_relay", "prove", alice.id, bob.id, "--json"]
            result = await trio.run_process(
                command, env=world.environment, capture_stdout=True, stderr=subprocess.STDOUT, check=False
            )
            assert result.returncode == 0, result.stdout
            there, back = json.loads(result.stdout)
            assert (there["from"], there["to"], back["from"], back["to"]) == (
                alice.id,
                bob.id,
                bob.id,
                alice.id,
            )
            for flight in (there, back):
                assert flight["arrived"]
                assert [step["state"] for step in flight["steps"]] == [
                    "accepted",
                    "queued",
                    "handed_off",
                    "settled",
                ]
                assert flight["steps"][-1]["evidence"]["canary"] == "the thread is there"
            assert len(world.model.requests) == asked


async def test_a_session_that_is_gone_is_not_called_whole(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with codex_world(tmp_path) as world:
            async with world.headless("alice"):
                alice = await world.agent("alice")
            me = await world.person()
            command = [sys.executable, "-m", "trio_relay", "prove", me, alice.id, "--timeout", "0.5"]
            result = await trio.run_process(
                command, env=world.environment, capture_stdout=True, stderr=subprocess.STDOUT, check=False
            )
            assert result.returncode == 5, result.stdout
            assert b"the agent is offline" in result.stdout
