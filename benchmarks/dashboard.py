"""What the dashboard costs the server, and how soon a person sees and feels something, in a room that is full.

500 agents, 100,000 messages. A real Chromium opens every page (first contentful paint), types, opens a menu and filters
(time to the next paint after an input, from the browser's Event Timing), and scrolls through 10,000 messages (frames
that took longer than 50 ms, rows in the document). Then 50 messages a second, each climbing three rungs: the relay's
processor time without a dashboard and with one open on a page, in turns. Figures for ``docs/performance.md``; nothing is
asserted. The machine must do nothing else: the browser and the load share it.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.browser import Api, Visitor, open_browser, visitor
from support.commands import ServingRelay, clean_environment, serving_relay
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration, ReadMark, ReceiptReport, SendRequest
from trio_relay.relay.operations import agents, messages, receipts
from trio_relay.relay.serve import unix_ms
from trio_relay.relay.service import RelayService
from trio_relay.settings import ServerSettings
from trio_relay.store import open_store

AGENTS, MESSAGES, CALLERS, RATE = 500, 100_000, 32, 50
UNREAD_OF_EACH = 5
TICK = os.sysconf("SC_CLK_TCK")
PAGES = (
    "/",
    "/agents",
    "/messages",
    "/threads/1",
    "/messages?q=migration",
    "/compose",
    "/map",
    "/plots",
    "/tasks",
)
WATCHED = ("/", "/messages", "/agents")
TEXT = "the migration of the orders table is safe on the replica when the backfill runs in batches"
#: Seen by the browser itself: how long after an input the next frame was shown (INP's measure).
_WATCH_INPUTS = """
window.inputs = [];
new PerformanceObserver(list => inputs.push(...list.getEntries().map(each => [each.name, each.duration])))
  .observe({type: 'event', durationThreshold: 16, buffered: true});
"""
_FIRST_PAINT = """
() => new Promise(resolve => new PerformanceObserver(list => {
  const paint = list.getEntriesByName('first-contentful-paint')[0];
  if (paint) resolve(paint.startTime);
}).observe({type: 'paint', buffered: true}))
"""
_SCROLL = """
async wanted => {
  const rows = () => document.querySelectorAll('tbody').length * 100;
  const frames = [];
  let last = performance.now(), most = 0;
  const began = last;
  while (rows() < wanted && last - began < 120000) {
    scrollBy(0, 600);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
    most = Math.max(most, document.querySelectorAll('tbody tr').length);
  }
  const back = performance.now();
  scrollTo(0, document.documentElement.scrollHeight / 2);
  await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame);
  const jump = performance.now() - back;
  const text = document.elementFromPoint(innerWidth / 2, innerHeight / 2).textContent.trim().length;
  return {frames, most, rows: rows(), jump, text};
}
"""


def agent(number: int) -> str:
    return f"host-codex-project{number % 40}-{number:08x}"


async def fill(path: Path, count: int) -> None:
    """Put a history into a new database: most of it settled, a little of everything unread."""
    async with open_store(path) as store:
        service = RelayService(store, ServerSettings(), now=unix_ms, new_token=lambda: "t" * 24)
        for number in range(AGENTS):
            registration = AgentRegistration(
                id=agent(number), name=agent(number), label=f"desk {number}", rig="codex", machine="host",
                tags=["codex", f"team-{number % 12}"], capabilities=["chat"], ready=number % 50 != 0,
                status=(AgentStatus.IDLE, AgentStatus.BUSY)[number % 2], instance_id="run-1",
            )  # fmt: skip
            await service.write(agents.register, registration)

        async def caller(first: int) -> None:
            for number in range(first, count, CALLERS):
                to = agent(number * 7 % AGENTS)
                sent, _ = await service.write(
                    messages.send,
                    SendRequest(
                        sender=agent((number * 7 + 1) % AGENTS),
                        to=to,
                        body=f"Message {number}: {TEXT}.",
                    ),
                )
                if number < count - UNREAD_OF_EACH * AGENTS:
                    await service.write(messages.mark_read, sent.id, ReadMark(read_by=to))
                elif number % 3 == 0:
                    report = ReceiptReport(agent_id=to, state=Rung.HANDED_OFF, instance_id="run-1")
                    await service.write(receipts.report, sent.id, report)

        async with trio.open_nursery() as nursery:
            for first in range(CALLERS):
                nursery.start_soon(caller, first)


def processor_time(relay: ServingRelay) -> float:
    fields = Path(f"/proc/{relay.process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / TICK


@contextmanager
def load(relay: ServingRelay) -> Iterator[None]:
    """Send `RATE` messages a second, each of which climbs three rungs, while the block runs."""
    stop = threading.Event()

    def work(place: int, workers: int) -> None:
        api = Api(relay.url)
        number, due = place, time.monotonic()
        while not stop.is_set():
            to = agent(number * 11 % AGENTS)
            message = api.send(agent((number * 11 + 3) % AGENTS), to, f"Live {number}: {TEXT}.")
            for rung in ("handed_off", "in_context", "settled"):
                api.climb(message, to, rung)
            number += workers
            due += workers / RATE
            stop.wait(max(0.0, due - time.monotonic()))
        api.close()

    threads = [threading.Thread(target=work, args=(place, 4)) for place in range(4)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        stop.set()
        for each in threads:
            each.join()


def first_paint(person: Visitor, path: str, times: int) -> float:
    """Milliseconds from asking for a page to its first content on the screen: the median of some visits."""
    found: list[float] = []
    for _ in range(times):
        person.go(path)
        found.append(person.page.evaluate(_FIRST_PAINT))
    return statistics.median(found)


def interactions(page: Page, url: str) -> dict[str, float]:
    """The longest time from an input to the next paint, in ms, for each of some interactions."""
    found: dict[str, float] = {}

    def note(name: str) -> None:
        page.wait_for_timeout(400)
        inputs: list[Any] = page.evaluate("inputs.splice(0)")
        found[name] = max((duration for _, duration in inputs), default=16.0)

    page.add_init_script(_WATCH_INPUTS)
    for path in ("/agents", "/messages", "/threads/1"):
        page.goto(url + path)
        page.wait_for_timeout(500)
        page.evaluate("inputs.splice(0)")
        page.locator("summary", has_text="anna").click()
        note(f"{path}: opening the menu")
        page.keyboard.press("Escape")
        page.get_by_label("Search messages").click()
        page.keyboard.type("migration", delay=30)
        note(f"{path}: typing")
    page.goto(url + "/agents")
    page.get_by_label("Name, tag, capability").fill("team-3")
    began = time.perf_counter()
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/agents?*")
    page.locator("tbody tr").first.wait_for()
    found["/agents: filtered, whole round trip"] = (time.perf_counter() - began) * 1000
    return found


def server_cost(relay: ServingRelay, person: Visitor, path: str | None, seconds: float) -> float:
    """Processor time of the relay as a share of a core while a page is open (None: no page)."""
    person.page.goto("about:blank" if path is None else relay.url + path)
    if path is not None:
        person.wait_until_live()
    time.sleep(2)
    before, began = processor_time(relay), time.monotonic()
    time.sleep(seconds)
    return (processor_time(relay) - before) / (time.monotonic() - began)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--messages", type=int, default=MESSAGES)
    options.add_argument("--seconds", type=float, default=20.0, help="of each measurement under load")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", choices=["paint", "scroll", "cost"])
    given = options.parse_args()
    result: dict[str, Any] = {
        "python": platform.python_version(),
        "agents": AGENTS,
        "messages": given.messages,
    }
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        trio.run(partial(fill, home / "relay.db", given.messages))
        env = clean_environment(home, STALE_TTL_MS="86400000")
        with (
            serving_relay("--db", str(home / "relay.db"), env=env, cwd=home) as relay,
            open_browser() as browser,
            visitor(browser, relay.url, viewport={"width": 1440, "height": 900}) as person,
        ):
            person.go("/")
            person.come_in("anna")
            if given.only in {None, "paint"}:
                for path in PAGES:
                    result[f"first paint of {path}, ms"] = round(first_paint(person, path, 5))
                for name, ms in interactions(person.page, relay.url).items():
                    result[f"{name}, ms"] = round(ms)
            if given.only in {None, "scroll"}:
                person.go("/messages")
                person.wait_until_live()
                seen = person.page.evaluate(_SCROLL, 10_000)
                frames = sorted(seen["frames"])
                result["scrolling: rows"] = seen["rows"]
                result["scrolling: rows in the document at once"] = seen["most"]
                result["scrolling: frames"] = len(frames)
                result["scrolling: frame p95, ms"] = round(frames[int(len(frames) * 0.95)], 1)
                result["scrolling: frames over 50 ms"] = sum(each > 50 for each in frames)
                result["scrolling: a jump to the middle, ms"] = round(seen["jump"])
                result["scrolling: text is there after it"] = seen["text"] > 0
            if given.only in {None, "cost"}:
                costs: dict[str, list[float]] = {}
                with load(relay):
                    for _ in range(given.rounds):
                        base = server_cost(relay, person, None, given.seconds)
                        costs.setdefault("relay alone", []).append(base)
                        for path in WATCHED:
                            more = server_cost(relay, person, path, given.seconds) - base
                            costs.setdefault(f"{path} open, more", []).append(more)
                for name, shares in costs.items():
                    result[f"{name}, % of a core"] = [round(share * 100, 2) for share in shares]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
