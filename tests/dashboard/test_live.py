"""What a person sees happen: agents come and go, a message climbs its ladder, people answer."""

from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from support.browser import Api, Visitor, visitor
from support.commands import clean_environment, serving_relay


def test_two_agents_come_and_go(anna: Visitor, api: Api) -> None:
    live = anna.page.get_by_role("region", name="Who is live")
    api.join("coming-and-going", label="backend", rig="codex")
    api.join("other", rig="claude")
    expect(live.get_by_role("link", name="backend")).to_be_visible()
    expect(live.get_by_role("link", name="other")).to_be_visible()
    api("PATCH", "/agents/coming-and-going/ready", {"ready": False, "reason": "no quota until 14:00"})
    expect(live.get_by_text("1 not ready")).to_be_visible()
    stuck = anna.page.get_by_role("region", name="What is stuck")
    expect(stuck.get_by_text("no quota until 14:00")).to_be_visible()
    for agent in ("coming-and-going", "other"):
        api("DELETE", f"/agents/{agent}")
    expect(live.get_by_role("link", name="backend")).to_have_count(0)
    expect(stuck.get_by_text("no quota until 14:00")).to_have_count(0)


def test_a_message_climbs_its_ladder_live_and_a_person_replies(anna: Visitor, api: Api) -> None:
    api.join("web")
    api.join("db")
    message = api.send("web", "db", "Is the migration safe?", subject="Migration")
    anna.page.get_by_role("link", name="Migration").click()
    expect(anna.page.get_by_role("heading", name="Migration", level=1)).to_be_visible()
    anna.wait_until_live()
    now = anna.page.locator("[aria-current=step] .rung")
    expect(now).to_have_text("queued")
    text = anna.page.get_by_label("Text")
    text.fill("Half a sentence that must not be lost")
    for state, shown in (("handed_off", "handed off"), ("in_context", "in context")):
        api.climb(message, "db", state, clientId=f"relay:{message}")
        expect(now).to_have_text(shown)
    anna.page.get_by_text("Evidence").first.click()
    expect(anna.page.get_by_text(f"clientId: relay:{message}").first).to_be_visible()
    text.focus()
    api.send("db", "web", "Yes, it is.", replyTo=message)
    expect(now.first).to_have_text("answered")
    expect(anna.page.get_by_text("Yes, it is.")).to_be_visible()
    expect(text).to_be_focused()
    expect(text).to_have_value("Half a sentence that must not be lost")
    expect(
        anna.page.get_by_text(f"clientId: relay:{message}").first
    ).to_be_visible()  # what was opened stays open

    text.fill("Then go ahead, please.")
    anna.page.get_by_label("To", exact=True).fill("db")
    anna.page.get_by_role("button", name="Send", exact=True).dblclick()
    expect(anna.page.get_by_text("db is idle and gets it now")).to_be_visible()
    thread = api("GET", f"/messages/{message}/thread")
    [reply] = [each for each in thread if each["from"] == "anna"]
    assert (reply["to"], reply["authority"], reply["replyTo"]) == ("db", "human", message)
    expect(anna.page.get_by_text("Then go ahead, please.")).to_have_count(1)


def test_a_delivery_that_ends_says_why(anna: Visitor, api: Api) -> None:
    api.join("gone", status="offline")
    message = api.send("web", "gone", "Too late for this one")
    anna.go(f"/messages/{message}")
    anna.wait_until_live()
    api("POST", f"/messages/{message}/retract", {"from": "web", "reason": "not needed any more"})
    expect(anna.page.get_by_text("retracted: not needed any more")).to_be_visible()


def test_new_messages_wait_while_somebody_reads(anna: Visitor, api: Api) -> None:
    api.join("reader")
    for number in range(30):
        api.send("writer", "reader", f"Line {number}")
    anna.go("/messages")
    anna.wait_until_live()
    rows = anna.page.locator("tbody tr")
    anna.page.mouse.move(5, 5)
    newest = api.send("writer", "reader", "Straight to the top")
    expect(rows.first).to_contain_text("Straight to the top")
    rows.nth(3).hover()
    api.send("writer", "reader", "Patience")
    button = anna.page.get_by_role("button", name="1 new message")
    expect(button).to_be_visible()
    expect(rows.first).to_contain_text("Straight to the top")
    api.climb(newest, "reader", "handed_off")
    expect(rows.first).to_contain_text("handed off")  # what stands there is kept true all the same
    button.click()
    expect(rows.first).to_contain_text("Patience")


def test_a_lost_connection_is_said_and_what_was_missed_is_shown(browser: Browser, tmp_path: Path) -> None:
    env, arguments = clean_environment(tmp_path), ("--db", str(tmp_path / "relay.db"))
    with ExitStack() as stack:
        with serving_relay(*arguments, env=env, cwd=tmp_path) as relay:
            url = relay.url
            person = stack.enter_context(visitor(browser, url))
            person.go("/messages")
            person.come_in("anna")
            person.wait_until_live()
            assert relay.stop() == 0  # an open page holds nothing up
        person.foreseen.append("net::ERR_")
        link = person.page.locator("[data-link]")
        expect(link).to_contain_text("Connection lost. Trying again.")
        port = url.rpartition(":")[2]
        stack.enter_context(serving_relay(*arguments, "--port", port, env=env, cwd=tmp_path))
        api = stack.enter_context(closing(Api(url)))
        api.join("ann")
        api.send("bob", "ann", "Said while nobody looked")
        expect(link).to_have_text("live")
        expect(person.page.get_by_text("Said while nobody looked")).to_be_visible()


def test_what_happens_between_a_page_and_its_stream_is_shown(anna: Visitor, api: Api) -> None:
    def late(route: Route) -> None:
        api.join("in-between")
        route.continue_()

    anna.page.route("**/live", late)
    anna.go("/agents")
    expect(anna.page.get_by_role("link", name="in-between")).to_be_visible()
    api("DELETE", "/agents/in-between")


def test_the_numbers_beside_the_navigation_are_right_when_all_is_quiet_again(anna: Visitor, api: Api) -> None:
    api.join("asking")
    count = anna.page.locator('.nav [data-count="approvals"]')
    for number in (1, 2):
        api("POST", "/approvals", {"agentId": "asking", "tool": "Bash", "summary": f"ls {number}"})
        expect(count).to_contain_text(str(number))
    api("DELETE", "/agents/asking")


@pytest.mark.parametrize("path", ["/", "/messages"])
def test_what_is_not_answered_for_is_shown_as_behind_and_asked_for_until_it_is(
    anna: Visitor, api: Api, path: str
) -> None:
    refusing, refused = True, 0

    def unwell(route: Route) -> None:
        nonlocal refused
        if refusing and "x-regions" in route.request.headers:
            refused += 1
            route.fulfill(status=503, body="<div data-region='said'>The upstream is away.</div>")
        else:
            route.continue_()

    page = anna.page
    anna.foreseen.append("the server responded with a status of 503")
    api.join("unheard")
    anna.go(path)
    anna.wait_until_live()
    page.mouse.move(5, 5)
    page.route(lambda _: True, unwell)
    text = f"Said while {path} could not be read"
    api.send("web", "unheard", text)
    link = page.get_by_role("status").and_(page.locator("[data-link]"))
    expect(link).to_have_text("Not up to date. Trying again.")
    expect(page.locator("[data-behind]")).not_to_have_count(0)
    expect(page.get_by_text("The upstream is away.")).to_have_count(0)
    with page.expect_response(lambda answer: refused > 3 and answer.status == 503):
        pass  # it does try again
    refusing = False
    expect(page.get_by_text(text)).to_be_visible()  # although nothing else happens
    expect(link).to_have_text("live")
    expect(page.locator("[data-behind]")).to_have_count(0)
    api("DELETE", "/agents/unheard")
