"""Where a person steps in: what waits for them, what is stuck, who holds what, who may come in."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from support.browser import Api, Visitor, visitor
from support.commands import ServingRelay


@pytest.fixture
def asking(api: Api) -> Iterator[str]:
    """An agent that asks for approvals."""
    api.join("asker", rig="claude")
    yield "asker"
    api("DELETE", "/agents/asker")


def ask(api: Api, summary: str, **more: str) -> int:
    question = {"agentId": "asker", "tool": "Bash", "summary": summary, "instanceId": "run-1", **more}
    approval_id: int = api("POST", "/approvals", question)["id"]
    return approval_id


def agree_to(page: Page) -> list[str]:
    """Say yes to whatever the page asks; give the questions."""
    questions: list[str] = []

    def yes(dialog: Dialog) -> None:
        questions.append(dialog.message)
        dialog.accept()

    page.on("dialog", yes)
    return questions


def test_a_person_allows_and_denies_what_agents_ask(anna: Visitor, api: Api, asking: str) -> None:
    anna.go("/approvals")
    anna.wait_until_live()
    page = anna.page
    expect(page.get_by_text("Nobody asks for anything")).to_be_visible()
    first = ask(api, "rm -rf build/", detail="$ rm -rf build/")
    second = ask(api, "git push")
    third = ask(api, "make release")
    expect(page.get_by_role("link", name="Approvals")).to_contain_text("3")
    cards = page.locator("[data-region=pending] li.card")
    expect(cards).to_have_count(3)
    expect(cards.first).to_contain_text(asking)
    cards.filter(has_text="rm -rf build/").get_by_role("button", name="Allow").click()
    expect(page.get_by_text("You have allowed it: asker, Bash.")).to_be_visible()
    push = cards.filter(has_text="git push")
    push.get_by_label("Why").fill("Not before the review")
    api("POST", f"/approvals/{third}/withdraw", {"agentId": "asker", "instanceId": "run-1"})
    expect(cards).to_have_count(1)
    expect(push.get_by_label("Why")).to_have_value("Not before the review")
    push.get_by_role("button", name="Deny").click()
    expect(page.get_by_text("Nobody asks for anything")).to_be_visible()
    allowed, denied = api("GET", f"/approvals/{first}"), api("GET", f"/approvals/{second}")
    assert (allowed["state"], denied["state"]) == ("allowed", "denied")
    assert denied["reason"] == "Not before the review"
    expect(page.locator("[data-region=over]")).to_contain_text("Not before the review")


def test_what_another_has_answered_meanwhile_is_said(anna: Visitor, api: Api, asking: str) -> None:
    approval = ask(api, f"{asking} wants to know")
    # The stream, which is tried again and again, and the answer.
    anna.foreseen += ["net::ERR_FAILED", "the server responded with a status of 409"]
    anna.go("/approvals")
    anna.wait_until_live()
    anna.page.route("**/live", lambda route: route.abort())  # this page hears of nothing any more
    anna.page.reload()
    api("POST", f"/approvals/{approval}/decide", {"decision": "deny"})
    anna.page.get_by_role("button", name="Allow").click()
    expect(anna.page.get_by_role("alert")).to_contain_text(f"Approval {approval} is denied already")


def test_approving_takes_no_mouse(anna: Visitor, api: Api, asking: str) -> None:
    approval = ask(api, f"{asking} by keyboard")
    anna.go("/approvals")
    anna.wait_until_live()
    page, keys = anna.page, anna.page.keyboard
    page.get_by_role("link", name="Skip to the content").focus()
    keys.press("Enter")
    expect(page.locator("main")).to_be_focused()
    for _ in range(10):
        keys.press("Tab")
        if page.evaluate("document.activeElement.name") == "reason":
            break
    expect(page.get_by_label("Why")).to_be_focused()
    keys.type("fine by me")
    keys.press("Tab")
    expect(page.get_by_role("button", name="Allow")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_text("You have allowed it")).to_be_visible()
    answered = api("GET", f"/approvals/{approval}")
    assert (answered["state"], answered["reason"]) == ("allowed", "fine by me")


def test_approving_takes_no_script(browser: Browser, relay: ServingRelay, api: Api, asking: str) -> None:
    approval = ask(api, f"{asking} without script")
    with visitor(browser, relay.url, java_script_enabled=False) as person:
        person.go("/approvals")
        person.come_in("plain")
        person.page.get_by_label("Why").fill("by a plain form")
        person.page.get_by_role("button", name="Deny").click()
        expect(person.page.get_by_text("You have denied it: asker, Bash.")).to_be_visible()
    assert api("GET", f"/approvals/{approval}")["state"] == "denied"


def dead_letter(api: Api, body: str) -> int:
    """A message that was handed off too often."""
    message = api.send("web", "db", body)
    for attempt in range(6):
        api.climb(message, "db", "handed_off", attemptId=f"a{attempt}")
    return message


def test_a_dead_letter_is_redriven_and_another_deleted(anna: Visitor, api: Api) -> None:
    api.join("web")
    api.join("db")
    anna.go("/dead")
    anna.wait_until_live()
    page = anna.page
    questions = agree_to(page)
    wanted, unwanted = dead_letter(api, "Still wanted"), dead_letter(api, "Not any more")
    card = page.locator("li.card", has_text="Still wanted")
    expect(card).to_contain_text("handed off too often, after 5 hand-offs")
    card.get_by_role("button", name="Redrive").click()
    expect(page.get_by_text(f"Message {wanted} is on its way again.")).to_be_visible()
    expect(card).to_have_count(0)
    assert api("GET", f"/messages/{wanted}/receipts")[0]["state"] == "queued"
    page.locator("li.card", has_text="Not any more").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No dead letters")).to_be_visible()
    assert questions == [f"Delete message {unwanted} from history? Nobody can bring it back."]


def test_a_parked_thread_goes_on(anna: Visitor, api: Api) -> None:
    api.join("ping")
    api.join("pong")
    message, speaker, listener = api.send("ping", "pong", "Thank you"), "pong", "ping"
    sent: dict[str, Any] = {"parked": False}
    while not sent["parked"]:
        answer = {
            "from": speaker,
            "to": listener,
            "body": f"No, I thank you for {message}",
            "replyTo": message,
        }
        sent = api("POST", "/messages", answer)
        message, speaker, listener = sent["id"], listener, speaker
    anna.go("/parked")
    anna.wait_until_live()
    card = anna.page.locator("li.card")
    expect(card).to_contain_text(sent["parkedReason"])
    expect(card).to_contain_text(sent["body"])
    card.get_by_role("button", name="Resume").click()
    expect(anna.page.get_by_text("the message held in it is delivered")).to_be_visible()
    expect(anna.page.get_by_text("No thread waits for you")).to_be_visible()
    assert api("GET", f"/messages/{message}/receipts")[0]["state"] == "queued"


def test_a_minted_token_is_shown_once_works_and_is_revoked(anna: Visitor, relay: ServingRelay) -> None:
    page = anna.page
    agree_to(page)
    anna.go("/tokens")
    page.get_by_label("What it is for").fill("laptop")
    page.get_by_label("claim").uncheck()
    page.get_by_role("button", name="Mint", exact=True).click()
    field = page.get_by_label("The token", exact=True)
    expect(field).to_be_focused()
    secret = field.input_value()
    assert secret.startswith("trt_")
    bearer = Api(relay.url, secret)
    caller = bearer("GET", "/whoami")
    assert (caller["scopes"], caller["authority"]) == (["observe", "receive", "send"], "peer")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    anna.go("/tokens")
    assert secret not in page.content()
    row = page.get_by_role("row", name="laptop")
    row.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("The token laptop")).to_be_visible()
    expect(row).to_have_count(0)
    with pytest.raises(AssertionError, match="401"):
        bearer("GET", "/whoami")
    bearer.close()


def test_an_invitation_lets_a_machine_in_once(anna: Visitor, api: Api) -> None:
    anna.go("/tokens")
    anna.page.get_by_label("For this agent").fill("guest")
    anna.page.get_by_role("button", name="Make the ticket").click()
    line = anna.page.get_by_label("Command").input_value().split()
    assert line[:2] == ["trio-relay", "join"]
    assert api("POST", "/join", {"ticket": line[-1]})["agentId"] == "guest"
    with pytest.raises(AssertionError, match="bad_ticket"):
        api("POST", "/join", {"ticket": line[-1]})


def test_a_lease_is_taken_back_and_a_pair_ended(anna: Visitor, api: Api) -> None:
    page = anna.page
    questions = agree_to(page)
    api.join("left")
    api.join("right")
    lease = api("POST", "/leases", {"key": "port:5432", "holder": "left", "ttlMs": 600_000})
    anna.go("/leases")
    anna.wait_until_live()
    row = page.get_by_role("row", name="port:5432")
    expect(row).to_contain_text("9 min")
    row.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("port:5432 was taken back from left, who was told.")).to_be_visible()
    expect(page.get_by_text("Nothing is held")).to_be_visible()
    change = {"key": "port:5432", "holder": "left", "leaseToken": lease["leaseToken"]}
    with pytest.raises(AssertionError, match="lease_lost"):
        api("POST", "/leases/renew", change)
    pair = api("POST", "/pairs", {"from": "left", "target": "right", "objective": "Review the schema"})["id"]
    anna.go("/pairs")
    anna.wait_until_live()
    card = page.locator("li.card", has_text="Review the schema")
    expect(card).to_contain_text("invited")
    api("POST", f"/pairs/{pair}/accept", {"agentId": "right", "instanceId": "run-1"})
    expect(card).to_contain_text("active")
    card.get_by_role("button", name="End the pair").click()
    expect(page.get_by_role("row", name="anna has ended it")).to_be_visible()
    for member in ("left", "right"):
        told = [each["type"] for each in api("GET", f"/messages?for={member}&unread=true")]
        assert "pair.ended" in told
    assert len(questions) == 2
