"""What group commit is worth: durable writes a second by number of callers, beside committing each on its own.

Both write the same row with ``synchronous=FULL`` on the same disk, turn about, in one run. Figures for
``docs/performance.md``; nothing is asserted.
"""

import json
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import trio

from trio_relay.store import open_store
from trio_relay.store.queries import queries

CALLERS = (1, 16, 128)
WRITES = 4_000
ROUNDS = 3


def write(connection: sqlite3.Connection) -> None:
    queries.insert_event(connection, type="benchmark", now=1, data="{}")


async def grouped(path: Path, callers: int) -> float:
    """Writes a second through the store."""
    async with open_store(path) as store:

        async def caller() -> None:
            for _ in range(WRITES // callers):
                await store.write(write)

        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(caller)
        return WRITES // callers * callers / (time.perf_counter() - start)


def each(path: Path) -> float:
    """Writes a second, each committed on its own."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    start = time.perf_counter()
    for _ in range(WRITES):
        connection.execute("BEGIN IMMEDIATE")
        write(connection)
        connection.execute("COMMIT")
    rate = WRITES / (time.perf_counter() - start)
    connection.close()
    return rate


def main() -> dict[str, object]:
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
            path = Path(directory) / "relay.db"
            for callers in CALLERS:
                found.setdefault(f"{callers} callers, group commit", []).append(
                    trio.run(grouped, path, callers)
                )
            found.setdefault("committing each", []).append(each(path))
    alone = statistics.median(found["committing each"])
    return {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "durable writes/s, median of rounds": {
            name: round(statistics.median(rates)) for name, rates in found.items()
        },
        "times committing each": {
            name: round(statistics.median(rates) / alone, 1) for name, rates in found.items()
        },
    }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
