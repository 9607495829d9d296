"""What a message costs in its whole life on PostgreSQL, beside SQLite: processor time and disk.

A message of 500 bytes is sent to one agent and reported as handed off, in context and settled: four transactions. Then
heartbeats, and registrations, which are alone in the room while they run. Through the store in this process, without
HTTP. Figures for ``docs/performance.md`` and ``docs/scaling.md``; nothing is asserted.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import trio

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.postgres import PostgresServer, private_server
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, ReceiptReport, SendRequest, SessionFields
from trio_relay.relay.operations import agents, messages, receipts
from trio_relay.relay.serve import unix_ms
from trio_relay.relay.service import RelayService
from trio_relay.settings import ServerSettings
from trio_relay.store import open_store

CALLERS, LIVES, BEATS, AGENTS = 8, 2400, 2400, 320
TICK = os.sysconf("SC_CLK_TCK")
EVIDENCE = {"turnId": "0190f3a0-0000-7000-8000-000000000000", "clientId": "relay:123456"}


def database_time(server: PostgresServer | None) -> float:
    """Seconds of processor time of a server and its sessions; 0 without one."""
    if server is None:
        return 0.0
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    total = 0
    for pid in (str(server.pid), *children):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / TICK


def disk(target: str | Path) -> int:
    if isinstance(target, Path):
        return sum(file.stat().st_size for file in target.parent.iterdir())
    with psycopg.connect(target) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        return int(row[0])


async def main(target: str | Path, server: PostgresServer | None) -> dict[str, float]:
    found: dict[str, float] = {}
    async with open_store(target) as store:
        service = RelayService(store, ServerSettings(), now=unix_ms, new_token=lambda: "t" * 24)

        async def measured(name: str, each: Callable[[int], Awaitable[object]], count: int) -> None:
            """Do it `count` times, by several callers; note what each cost."""

            async def caller(first: int) -> None:
                for number in range(first, count, CALLERS):
                    await each(number)

            before = time.perf_counter(), time.process_time(), database_time(server)
            async with trio.open_nursery() as nursery:
                for first in range(CALLERS):
                    nursery.start_soon(caller, first)
            after = time.perf_counter(), time.process_time(), database_time(server)
            wall, node, base = (later - sooner for later, sooner in zip(after, before, strict=True))
            found[f"{name}: a second"] = round(count / wall)
            found[f"{name}: node, ms"] = round(node / count * 1000, 2)
            found[f"{name}: database, ms"] = round(base / count * 1000, 2)

        async def register(number: int) -> None:
            await service.write(
                agents.register, AgentRegistration(id=f"agent{number}", instance_id="one", ready=True)
            )

        async def live(number: int) -> None:
            recipient = f"agent{number % (AGENTS - 1)}"
            request = SendRequest(sender=f"agent{AGENTS - 1}", to=recipient, body="x" * 500)
            sent, *_ = await service.write(messages.send, request)
            for rung in (Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.SETTLED):
                report = ReceiptReport(
                    agent_id=recipient, state=rung, evidence=EVIDENCE, instance_id="one", epoch=1
                )
                await service.write(receipts.report, sent.id, report)

        async def beat(number: int) -> None:
            session = SessionFields(instance_id="one", epoch=1)
            await service.write(agents.heartbeat, f"agent{number % AGENTS}", session)

        await measured("registration", register, AGENTS)
        before = disk(target)
        await measured("a message's life", live, LIVES)
        found["a message's life: bytes on disk"] = round((disk(target) - before) / LIVES)
        await measured("heartbeat", beat, BEATS)
    return found


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as directory,
        private_server() as server,
        server.database() as url,
    ):
        report = {
            "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, {CALLERS} callers",
            "SQLite": trio.run(main, Path(directory) / "relay.db", None),
            "PostgreSQL": trio.run(main, url, server),
        }
    print(json.dumps(report, indent=2))
