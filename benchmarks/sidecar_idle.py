"""What does a session in the room cost while nothing happens?

One sidecar, then twenty, each joined to a thread of its own on one real Codex app-server and to one relay; all have
been told that they are ready. Over a window that contains heartbeats and renewed long polls: processor time of each
(from the scheduler, so a millisecond counts) and its memory. Beside it stands the rest that `codex-relay` adds to
Codex (the launcher and the leashes), and Codex's own app-server.

Run: ``python benchmarks/sidecar_idle.py`` (about two and a half minutes; needs the Codex that ``scripts/test``
installs). Figures are for reading in ``docs/performance.md``; nothing is asserted.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.codex_session import World, codex_world
from support.processes import Process, processes_of
from trio_relay import __version__

#: Until what a start leaves behind is done: a few seconds.
SETTLE = 5.0
SIDECAR = (sys.executable, "-P", "-m", "trio_relay", "sidecar", "codex")


def processor_seconds(pid: int) -> float:
    """Time all threads of a process have run on a processor, by the scheduler's count."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def memory(pid: int) -> dict[str, float]:
    """RSS and PSS (what is shared is divided among those who share it), MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return {"RSS": round(kib["Rss"] / 1024, 1), "PSS": round(kib["Pss"] / 1024, 1)}


async def watch(pids: Sequence[int], seconds: float) -> dict[str, object]:
    """Leave processes alone for a while: percent of a core, and memory, typical and greatest."""
    before = [processor_seconds(pid) for pid in pids]
    began = trio.current_time()
    await trio.sleep(seconds)
    elapsed = trio.current_time() - began
    used = [100 * (processor_seconds(pid) - then) / elapsed for pid, then in zip(pids, before, strict=True)]
    held = [memory(pid) for pid in pids]
    return {
        "percent of a core": {"median": round(statistics.median(used), 3), "max": round(max(used), 3)},
        "RSS, MiB": {"max": max(one["RSS"] for one in held)},
        "PSS, MiB": {"max": max(one["PSS"] for one in held)},
    }


@asynccontextmanager
async def more_sidecars(world: World, url: str, count: int) -> AsyncIterator[None]:
    """Join `count` more sidecars, each to a new thread, to the app-server of the session that runs."""
    (run,) = world.run_directories()
    processes = []
    try:
        for number in range(count):
            told = {
                "CODEX_APP_SERVER_URL": url,
                "CODEX_APP_SERVER_TOKEN_FILE": str(run / "token"),
                "AGENT_RELAY_CODEX_STATE_PATH": str(world.home / f"state-{number}.json"),
                "AGENT_RELAY_CODEX_CWD": str(world.project()),
            }
            processes.append(
                await trio.lowlevel.open_process(
                    SIDECAR, env=world.environment | told, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
                )
            )
        with trio.fail_after(120):
            while len(await world.relay.agents(ready=True)) < count + 1:
                await trio.sleep(0.2)
        yield
    finally:
        with trio.CancelScope(shield=True):
            for process in processes:
                process.terminate()
            for process in processes:
                await process.wait()


def kind(process: Process) -> str | None:
    """What a process of the session is, for the table."""
    if process.runs("leash.py"):
        return "leash"
    if process.runs("--headless"):
        return "launcher"
    if process.runs("app-server"):
        return "Codex app-server" if process.arguments[0].endswith("/codex") else "Codex's node wrapper"
    return None


async def main(sidecars: int, seconds: float) -> dict[str, object]:
    found: dict[str, object] = {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, trio-relay {__version__}",
        "window, s": seconds,
    }
    with tempfile.TemporaryDirectory() as directory:
        async with codex_world(Path(directory)) as world, world.headless():
            agent = await world.agent()
            await trio.sleep(SETTLE)
            (one,) = world.sidecars()
            found["1 sidecar"] = await watch([one.pid], seconds)
            around = {kind(process): process.pid for process in processes_of(world.home)}
            found["around it, MiB"] = {name: memory(pid) for name, pid in around.items() if name}
            async with more_sidecars(world, agent.meta["appServerUrl"], sidecars - 1):
                await trio.sleep(SETTLE)
                pids = [process.pid for process in world.sidecars()]
                found[f"each of {len(pids)} sidecars"] = await watch(pids, seconds)
                found["the relay"] = memory(world.relay_pid)
    return found


if __name__ == "__main__":
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--sidecars", type=int, default=20, help="how many at once (default 20)")
    options.add_argument("--seconds", type=float, default=60.0, help="the window (default 60)")
    given = options.parse_args()
    print(json.dumps(trio.run(main, given.sidecars, given.seconds), indent=2))
