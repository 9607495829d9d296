"""A real Chromium that looks at the dashboard of a relay in a process of its own.

Playwright's sync interface in plain tests: no event loop of ours runs meanwhile. The browser is opened once a file and
closed at its end, so that nothing of its loop is left for the tests of other files.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
#: Patience with a loaded machine, ms: for every step of a page and for everything that is expected of one.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: What axe-core holds a page to.
_RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def chromium() -> str:
    """Where Chromium is."""
    known = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("TRIO_RELAY_TEST_CHROMIUM") or next(filter(None, map(shutil.which, known)), None)
    assert found, "no Chromium: install one, or name one in TRIO_RELAY_TEST_CHROMIUM"
    return found


def axe() -> str:
    """The source of axe-core, which finds what a screen reader or a keyboard would trip over."""
    named = os.environ.get("TRIO_RELAY_TEST_AXE")
    path = Path(named) if named else ROOT / ".tools/axe/node_modules/axe-core/axe.min.js"
    assert path.exists(), f"{path} is not there: scripts/test installs it"
    return path.read_text()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run Chromium while the block runs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(_FLAGS), timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visitor:
    """A person with a browser window on one relay. Whatever the pages complain of is kept in `complaints`.

    Complaints come whenever the browser gets to it, again and again where a page tries again: what a test brings about
    on purpose it names in `foreseen`, as a part of such a complaint.
    """

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    foreseen: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open a page."""
        self.page.goto(self.url + path)

    def come_in(self, name: str, token: str | None = None) -> None:
        """Log in, on the page that asks for it; until the page that comes of it is there.

        Whoever goes elsewhere before that may take the login back.
        """
        self.page.get_by_label("Your name").fill(name)
        if token is not None:
            self.page.get_by_label("Token").fill(token)
        with self.page.expect_navigation():
            self.page.get_by_role("button", name="Come in").click()

    def wait_until_live(self) -> None:
        """Wait until the page hears of changes."""
        self.page.locator('[data-link="live"]').wait_for()

    def trip_over(self) -> list[str]:
        """What axe-core finds wrong with the page, one line each."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(axe())  # a page's own script: the Content-Security-Policy does not apply
        found: dict[str, Any] = self.page.evaluate("rules => axe.run({runOnly: rules})", _RULES)
        return [
            f"{each['id']}: {each['help']}: {', '.join(str(node['target']) for node in each['nodes'][:3])}"
            for each in found["violations"]
        ]


@contextmanager
def visitor(browser: Browser, url: str, **options: Any) -> Iterator[Visitor]:
    """Open a window of its own; at the end the pages must not have complained but of what was foreseen."""
    context: BrowserContext = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    person = Visitor(context.new_page(), url)
    person.page.on(
        "console",
        lambda line: person.complaints.append(line.text) if line.type in {"error", "warning"} else None,
    )
    person.page.on("pageerror", lambda error: person.complaints.append(str(error)))
    try:
        yield person
    finally:
        context.close()
    unforeseen = [each for each in person.complaints if not any(part in each for part in person.foreseen)]
    assert unforeseen == []


class Api:
    """The relay's API for a test without an event loop."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=PATIENCE / 1000)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call that must succeed."""
        answer = self._http.request(method, f"/api{path}", json=body)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer.json()

    def join(self, agent_id: str, **more: Any) -> None:
        """Have an agent come, ready for messages."""
        self(
            "POST",
            "/agents",
            {"id": agent_id, "ready": True, "status": "idle", "instanceId": "run-1", **more},
        )

    def send(self, sender: str, to: str, body: str, **more: Any) -> int:
        """Send a message; give its id."""
        message_id: int = self("POST", "/messages", {"from": sender, "to": to, "body": body, **more})["id"]
        return message_id

    def climb(self, message_id: int, agent_id: str, state: str, **evidence: Any) -> None:
        """Report a rung as the agent's program would."""
        report = {"agentId": agent_id, "state": state, "evidence": evidence, "instanceId": "run-1"}
        self("POST", f"/messages/{message_id}/receipts", report)
