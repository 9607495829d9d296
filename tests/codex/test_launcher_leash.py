"""Children on a leash end with their holder, whatever they and it do."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from support.processes import processes_of, until
from trio_relay.codex.processes import Command, leashed

HOLDER = """
import subprocess, sys, trio
from trio_relay.codex.processes import Command, leashed
async def main():
    command = Command(sys.argv[2:], {"HOME": sys.argv[1], "PATH": "/usr/bin:/bin"}, ".", grace=0.1)
    async with leashed(command):
        await trio.sleep_forever()
trio.run(main)
"""

DRAINS = """
import os, signal, time
def drain(*_):
    os.write(1, b"draining\\n")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGTERM, drain)
os.write(1, b"up\\n")
while True:
    time.sleep(1000)
"""


def command(home: Path, script: str, *, grace: float = 0.1, terminal: bool = False) -> Command:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return Command(("/bin/sh", "-c", script), environment, str(home), grace=grace, terminal=terminal)


def scripts(home: Path) -> list[str]:
    """What runs for `home`, but for the leashes themselves."""
    return [str(one) for one in processes_of(home) if not one.runs("leash.py")]


async def read_line(process: trio.Process) -> bytes:
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        byte = await process.stdout.receive_some(1)
        assert byte, f"ended after {line!r}"
        line += byte
    return line


@pytest.mark.parametrize("terminal", [True, False])
async def test_the_exit_code_is_the_childs(tmp_path: Path, terminal: bool) -> None:
    with trio.fail_after(60):
        async with leashed(command(tmp_path, "exit 7", terminal=terminal)) as process:
            assert await process.wait() == 7


async def test_a_program_that_is_not_there_is_127(tmp_path: Path) -> None:
    with trio.fail_after(60):
        absent = Command(["/no/such/program"], {}, str(tmp_path))
        async with leashed(absent, stderr=subprocess.DEVNULL) as process:
            assert await process.wait() == 127


@pytest.mark.parametrize("terminal", [True, False])
async def test_leaving_the_block_ends_the_child(tmp_path: Path, terminal: bool) -> None:
    with trio.fail_after(60):
        async with leashed(command(tmp_path, "exec sleep 1000", terminal=terminal)):
            await until(lambda: any("sleep" in one for one in scripts(tmp_path)))
        assert processes_of(tmp_path) == []


async def test_being_cancelled_ends_the_child_too(tmp_path: Path) -> None:
    with trio.fail_after(60):
        with trio.CancelScope() as scope:
            async with leashed(
                command(tmp_path, "echo up; exec sleep 1000"), stdout=subprocess.PIPE
            ) as process:
                await read_line(process)
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert processes_of(tmp_path) == []


async def test_a_child_that_drains_at_the_first_sigterm_gets_a_second(tmp_path: Path) -> None:
    script = f"exec {sys.executable} -c {shlex.quote(DRAINS)}"
    with trio.fail_after(60):
        async with leashed(command(tmp_path, script), stdout=subprocess.PIPE) as process:
            assert await read_line(process) == b"up\n"
        assert await read_line(process) == b"draining\n"
        assert processes_of(tmp_path) == []


@pytest.mark.parametrize("terminal", [True, False])
async def test_a_deaf_child_and_its_hidden_children_are_killed(tmp_path: Path, terminal: bool) -> None:
    deaf = (
        "trap '' TERM; setsid sh -c \"trap '' TERM; sleep 1000; :\" & echo up; while :; do sleep 1000; done"
    )
    with trio.fail_after(60):
        async with leashed(command(tmp_path, deaf, terminal=terminal), stdout=subprocess.PIPE) as process:
            await read_line(process)
            await until(lambda: len([one for one in scripts(tmp_path) if one.endswith("sleep 1000")]) == 2)
        await until(lambda: processes_of(tmp_path) == [])


async def test_a_killed_wrapper_takes_its_program_along(tmp_path: Path) -> None:
    """As with ``codex`` from npm, where SIGKILL to the node wrapper leaves the native program running."""
    with trio.fail_after(60):
        async with leashed(
            command(tmp_path, "sleep 1000 & echo $$; wait"), stdout=subprocess.PIPE
        ) as process:
            os.kill(int(await read_line(process)), signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
            await until(lambda: processes_of(tmp_path) == [])


async def test_kill_9_of_the_holder_ends_the_child(tmp_path: Path) -> None:
    with trio.fail_after(60):
        holder = await trio.lowlevel.open_process(
            [sys.executable, "-c", HOLDER, str(tmp_path), "/bin/sh", "-c", "sleep 1000; :"]
        )
        await until(lambda: any(one.endswith("sleep 1000") for one in scripts(tmp_path)))
        holder.kill()
        await holder.wait()
        await until(lambda: processes_of(tmp_path) == [])


async def test_a_background_child_reads_nothing_and_hears_no_ctrl_c(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with leashed(command(tmp_path, "cat; ps -o pgid= -p $$"), stdout=subprocess.PIPE) as process:
            assert int(await read_line(process)) == process.pid != os.getpgrp()
            assert await process.wait() == 0
