"""Keeping an app-server up, with a program in its place that says what the real one says."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from support.processes import processes_of, until
from support.standin_codex import PORT, StandInCodex
from trio_relay.codex.app_process import AppServerFailed, keep_app_server
from trio_relay.codex.run_directory import RunDirectory, run_directory


def no_pauses() -> Iterator[float]:
    while True:
        yield 0.0


class Place(StandInCodex):
    """The stand-in, with an app-server kept there."""

    def __init__(self, path: Path, run: RunDirectory) -> None:
        super().__init__(path)
        self.run = run

    async def keep(self, port: int = 0, *, task_status: trio.TaskStatus[str]) -> None:
        await keep_app_server(
            str(self.program),
            {"HOME": str(self.path), "PATH": os.environ["PATH"]},
            str(self.path),
            self.run,
            port=port,
            delays=no_pauses,
            task_status=task_status,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with run_directory(tmp_path / "runs") as run:
        yield Place(tmp_path, run)


async def test_it_tells_the_address_the_server_chose(place: Place) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            assert await nursery.start(place.keep) == f"ws://127.0.0.1:{PORT}"
            nursery.cancel_scope.cancel()
        assert processes_of(place.path) == []
    assert "listening on" in place.run.log("app-server").read_text()


async def test_a_server_that_dies_comes_back_on_the_same_port(place: Place) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(place.keep)
            await until(lambda: len(place.starts()) == 1)
            (server,) = [one for one in processes_of(place.path) if not one.runs("leash.py")]
            os.kill(server.pid, signal.SIGKILL)
            await until(lambda: len(place.starts()) == 2)
            nursery.cancel_scope.cancel()
    first, second = place.starts()
    assert "ws://127.0.0.1:0" in first
    assert f"ws://127.0.0.1:{PORT}" in second


async def test_a_server_that_does_not_come_up_is_told_with_its_last_words(place: Place) -> None:
    place.broken.touch()
    with (
        trio.fail_after(60),
        pytest.RaisesGroup(pytest.RaisesExc(AppServerFailed, match="code 1: Error: some")),
    ):
        async with trio.open_nursery() as nursery:
            await nursery.start(place.keep)


async def test_a_server_that_breaks_later_is_tried_again_and_again(place: Place) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(place.keep)
            await until(lambda: len(place.starts()) == 1)
            place.broken.touch()
            (server,) = [one for one in processes_of(place.path) if not one.runs("leash.py")]
            os.kill(server.pid, signal.SIGKILL)
            await until(lambda: place.run.log("app-server").read_text().count("something is wrong") >= 3)
            place.broken.unlink()
            await until(lambda: len(place.starts()) == 2)
            nursery.cancel_scope.cancel()
