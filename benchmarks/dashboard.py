"""What the dashboard costs the server, and how soon a person sees and feels something, in a room that is full.

500 agents, 100,000 messages. A real Chromium opens every page (first contentful paint), types, opens a menu and filters
(time to the next paint after an input, from the browser's Event Timing), and scrolls through 10,000 messages (frames
that took longer than 50 ms, rows in the document). Then 50 messages a second, each climbing three rungs: the relay's
processor time without a dashboard and with 20 pages open, in turns, asking for what a page's script asks for. Figures for ``docs/performance.md``; nothing is
asserted. The machine must do nothing else: the browser and the load share it.
"""

import argparse
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
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
from trio_relay.relay.web.dashboard.session import COOKIE
from trio_relay.settings import ServerSettings
from trio_relay.store import open_store

AGENTS, MESSAGES, CALLERS, RATE = 500, 100_000, 32, 50
#: Pages open at once while the cost of one is measured, and rows of a list on a screen.
WATCHERS, IN_VIEW = 20, 13
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
def load(relay: ServingRelay) -> Iterator[list[int]]:
    """Send `RATE` messages a second, each of which climbs three rungs, while the block runs; what was sent so far."""
    stop = threading.Event()
    sent: list[int] = []

    def work(place: int, workers: int) -> None:
        api = Api(relay.url)
        number, due = place, time.monotonic()
        while not stop.is_set():
            to = agent(number * 11 % AGENTS)
            message = api.send(agent((number * 11 + 3) % AGENTS), to, f"Live {number}: {TEXT}.")
            for rung in ("handed_off", "in_context", "settled"):
                api.climb(message, to, rung)
            sent.append(message)
            number += workers
            due += workers / RATE
            stop.wait(max(0.0, due - time.monotonic()))
        api.close()

    threads = [threading.Thread(target=work, args=(place, 4)) for place in range(4)]
    for each in threads:
        each.start()
    try:
        yield sent
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


class Watcher(threading.Thread):
    """One open page without its browser: it hears the digests and asks for what the page's script would ask for."""

    def __init__(self, relay: ServingRelay, cookie: str, path: str) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._http = httpx2.Client(base_url=relay.url, headers={"Cookie": cookie}, timeout=60)
        self._shown: list[str] = []
        self._newest = "0"
        self._asked: dict[str, float] = {}
        self.stop = threading.Event()
        self.requests = 0

    def run(self) -> None:
        self._take(self._http.get(self._path).text)
        with self._http.stream("GET", "/live") as stream:
            kind = ""
            for line in stream.iter_lines():
                if self.stop.is_set():
                    return
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: ") and kind == "changed":
                    self._ask(set(json.loads(line[6:])))

    def _ask(self, words: set[str]) -> None:
        paces = {"counts": 5.0} | ({"latest": 1.0, "live": 2.0, "stuck": 2.0} if self._path == "/" else {})
        now = time.monotonic()
        due = [name for name, pace in paces.items() if self._asked.get(name, -9.0) + pace <= now + 0.05]
        self._asked |= dict.fromkeys(due, now)
        if due:
            self._get({"X-Regions": " ".join(due)})
        if self._path != "/":
            keys = [key for key in self._shown[:IN_VIEW] if key in words]
            self._take(
                self._get({"X-Regions": self._path[1:], "X-Keys": " ".join(keys), "X-After": self._newest})
            )

    def _get(self, headers: dict[str, str]) -> str:
        self.requests += 1
        return self._http.get(self._path, headers=headers).text

    def _take(self, html: str) -> None:
        self._shown = list(dict.fromkeys(re.findall(r'data-key="([^"]+)"', html) + self._shown))[:100]
        self._newest = max([self._newest, *re.findall(r'data-newest="(\d+)"', html)], key=int)


@dataclass(frozen=True)
class Cost:
    """What a window of time cost the relay: a share of a core, at so many messages and requests of a page a second."""

    share: float
    messages: float
    requests: float

    def more_than(self, base: "Cost") -> float:
        """What each open page added; a machine that is busy sends fewer messages, so a message is what is compared."""
        return (self.share - base.share / base.messages * self.messages) / WATCHERS


def server_cost(relay: ServingRelay, sent: list[int], cookie: str, path: str | None, seconds: float) -> Cost:
    """Processor time of the relay while `WATCHERS` pages are open (None: no page)."""
    watchers = [Watcher(relay, cookie, path) for _ in range(WATCHERS)] if path is not None else []
    for each in watchers:
        each.start()
    time.sleep(3)
    asked, messages_before = sum(each.requests for each in watchers), len(sent)
    before, began = processor_time(relay), time.monotonic()
    time.sleep(seconds)
    span = time.monotonic() - began
    share = (processor_time(relay) - before) / span
    asked = sum(each.requests for each in watchers) - asked
    rate = (len(sent) - messages_before) / span
    for each in watchers:
        each.stop.set()
    for each in watchers:
        each.join()
    return Cost(share, rate, asked / span / WATCHERS)


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
                [session] = [each for each in person.page.context.cookies() if each["name"] == COOKIE]
                cookie = f"{COOKIE}={session['value']}"
                person.page.goto("about:blank")
                costs: dict[str, list[float]] = {}
                with load(relay) as sent:
                    for _ in range(given.rounds):
                        for path in WATCHED:
                            base = server_cost(relay, sent, cookie, None, given.seconds)
                            costs.setdefault("relay alone", []).append(base.share)
                            cost = server_cost(relay, sent, cookie, path, given.seconds)
                            costs.setdefault(f"each page open at {path}", []).append(cost.more_than(base))
                            result[f"requests a second of a page at {path}"] = round(cost.requests, 2)
                            result.setdefault("messages a second", []).append(round(cost.messages, 1))
                for name, shares in costs.items():
                    result[f"{name}, % of a core"] = [round(share * 100, 2) for share in shares]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
