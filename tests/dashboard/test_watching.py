"""What a person watches: tasks and their callbacks, one message's story, the map, the plots; fit for everybody."""

import pytest
from playwright.sync_api import Browser, expect

from support.browser import Api, Visitor, visitor
from support.commands import ServingRelay

PAGES = (
    "/approvals",
    "/parked",
    "/dead",
    "/tasks",
    "/tasks/1",
    "/pairs",
    "/leases",
    "/map",
    "/plots",
    "/tokens",
)
LONG = "a-machine-with-a-name-that-goes-on-and-on-codex-and-a-project-that-does-so-as-well-0badcafe"


def new_task(relay: ServingRelay, api: Api, title: str) -> int:
    token = api("POST", "/tokens", {"name": "ci", "scopes": ["integrate"]})["token"]
    ci = Api(relay.url, token)
    event = {"title": title, "severity": "high", "target": "tag:backend", "dedupeKey": title}
    task_id: int = ci("POST", "/integrations/events", event)["id"]
    ci.close()
    return task_id


def test_a_task_is_followed_and_taken_back(anna: Visitor, relay: ServingRelay, api: Api) -> None:
    page = anna.page
    page.on("dialog", lambda dialog: dialog.accept())
    api.join("worker", tags=["backend"])
    anna.go("/tasks")
    anna.wait_until_live()
    task = new_task(relay, api, "CI is red")
    page.get_by_role("link", name="CI is red").click()
    expect(page).to_have_url(f"{relay.url}/tasks/{task}")
    anna.wait_until_live()
    api("POST", f"/tasks/{task}/claim", {"agentId": "worker", "instanceId": "run-1"})
    facts = page.locator("[data-region=task]")
    expect(facts).to_contain_text("claimed")
    expect(facts.get_by_role("link", name="worker")).to_be_visible()
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_text(f"Task {task} was taken back and is offered again.")).to_be_visible()
    expect(facts).to_contain_text("open")
    page.get_by_label("Note").fill("not worth it")
    page.get_by_role("button", name="Cancel the task").click()
    expect(facts).to_contain_text("canceled")
    expect(page.get_by_role("button", name="Cancel the task")).to_have_count(0)
    assert api("GET", f"/tasks/{task}")["result"] == {"by": "anna", "note": "not worth it"}
    expect(page.locator("[data-region=history]")).to_contain_text("claimed by worker")


def test_a_message_is_explained_and_withdrawn(anna: Visitor, api: Api) -> None:
    page = anna.page
    page.on("dialog", lambda dialog: dialog.accept())
    api.join("sleeper", status="offline")
    message = api.send("web", "sleeper", "Wake up")
    anna.go(f"/messages/{message}/explain")
    anna.wait_until_live()
    row = page.get_by_role("row", name="sleeper")
    expect(row).to_contain_text("the agent is offline")
    expect(row).to_contain_text("Start the agent's session again")
    page.get_by_label("because").fill("too late")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.get_by_text(f"Message {message} is withdrawn.")).to_be_visible()
    expect(row).to_contain_text("retracted")
    expect(page.get_by_role("button", name="Withdraw")).to_have_count(0)


def test_the_map_shows_who_talks_to_whom(anna: Visitor, api: Api) -> None:
    page = anna.page
    for name in ("east", "west", LONG):
        api.join(name)
    for _ in range(3):
        api.send("east", "west", "x")
    api.send("west", LONG, "y")
    anna.go("/map")
    picture = page.get_by_role("group", name="Who talks to whom")
    expect(picture.get_by_role("link", name="east")).to_be_visible()
    assert "east → west: 3 messages" in picture.inner_html()
    table = page.get_by_role("table")
    expect(table.get_by_role("row", name="east west 3")).to_be_visible()
    picture.get_by_role("link", name=LONG).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Talk of")).to_be_visible()
    expect(table.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="see everybody").click()
    expect(table.get_by_role("row", name="east west 3")).to_be_visible()


def test_the_plots_have_units_and_a_table(anna: Visitor, api: Api) -> None:
    api.join("timed")
    message = api.send("web", "timed", "How fast?")
    api.climb(message, "timed", "in_context")
    anna.go("/plots")
    page = anna.page
    figure = page.locator("figure", has_text="Accepted until proven")
    expect(figure.locator("svg rect.median")).not_to_have_count(0)
    expect(figure).to_contain_text("60 min ago")
    expect(figure.locator(".y")).to_contain_text("ms")
    page.get_by_text("The same as a table").click()
    expect(page.get_by_role("table").last.get_by_role("row").nth(1)).to_contain_text("ms")
    page.get_by_role("link", name="Last day").click()
    expect(page.get_by_text("24 h ago").first).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1440)])
def test_every_view_is_fit_for_a_screen_reader_and_a_phone(
    browser: Browser, relay: ServingRelay, api: Api, scheme: str, width: int
) -> None:
    text = "Look at https://example.org/" + "a-very-long-path/" * 12
    api.join(LONG, tags=["backend"], label="\u05dc\u05d9\u05d1\u05d4")
    api.join("b", status="idle")
    task = new_task(
        relay, api, "\u0627\u0644\u0646\u0633\u062e \u0627\u0644\u0627\u062d\u062a\u064a\u0627\u0637\u064a"
    )
    api("POST", f"/tasks/{task}/claim", {"agentId": LONG, "instanceId": "run-1"})
    api("POST", "/leases", {"key": "file:/home/" + "long/" * 30, "holder": LONG, "ttlMs": 600_000})
    api("POST", "/pairs", {"from": "b", "target": LONG, "objective": text})
    question = {"agentId": LONG, "tool": "Bash", "summary": text, "detail": text, "instanceId": "run-1"}
    api("POST", "/approvals", question)
    message = api.send("b", LONG, text)
    for attempt in range(6):
        api.climb(message, LONG, "handed_off", attemptId=str(attempt))
    with visitor(browser, relay.url, color_scheme=scheme, viewport={"width": width, "height": 900}) as person:
        person.go("/login")
        person.come_in("carla")
        for path in (*PAGES, f"/messages/{message}/explain"):
            person.go(path)
            assert (path, person.trip_over()) == (path, [])
            wider = person.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert (path, wider) == (path, 0)
    api("DELETE", f"/agents/{LONG}")
