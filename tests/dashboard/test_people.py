"""How people come in, move by keyboard, and what a screen reader would meet."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from support.browser import Api, Visitor, visitor
from support.commands import ServingRelay, clean_environment, serving_relay

TOKEN = "correct-horse-battery"
PAGES = (
    "/",
    "/agents",
    "/agents/web",
    "/messages",
    "/messages?q=nothing",
    "/threads/1",
    "/compose",
    "/inbox",
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingRelay]:
    home: Path = tmp_path_factory.mktemp("guarded")
    env = clean_environment(home, AGENT_RELAY_TOKEN=TOKEN)
    with serving_relay("--db", str(home / "relay.db"), env=env, cwd=home) as serving:
        yield serving


def test_the_token_is_asked_once(browser: Browser, guarded: ServingRelay) -> None:
    with visitor(browser, guarded.url) as person:
        person.foreseen.append("the server responded with a status of 401")
        person.go("/agents?q=nobody")
        person.come_in("anna", "wrong")
        expect(person.page.get_by_role("alert")).to_contain_text("This token is unknown")
        person.come_in("anna", TOKEN)
        expect(person.page).to_have_url(f"{guarded.url}/agents?q=nobody")
        person.go("/")
        person.wait_until_live()
        assert TOKEN not in str(person.page.context.cookies())
        person.page.get_by_text("Menu of anna").click()
        person.page.get_by_role("button", name="Log out").click()
        expect(person.page.get_by_text("You are logged out.")).to_be_visible()
        person.go("/")
        expect(person.page.get_by_label("Token")).to_be_visible()


def test_everything_can_be_done_by_keyboard(browser: Browser, relay: ServingRelay, api: Api) -> None:
    api.join("keys")
    with visitor(browser, relay.url) as person:
        page, keys = person.page, person.page.keyboard
        person.go("/")
        expect(page.get_by_label("Your name")).to_be_focused()
        keys.type("berta")
        keys.press("Enter")
        person.wait_until_live()
        keys.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        keys.press("Enter")
        expect(page.locator("main")).to_be_focused()
        keys.press("/")
        expect(page.get_by_label("Search messages")).to_be_focused()
        keys.type("nothing-like-it")
        keys.press("Enter")
        expect(page.get_by_text("No message holds all of these words.")).to_be_visible()
        page.get_by_role("link", name="New message").focus()
        keys.press("Enter")
        expect(page.get_by_label("To", exact=True)).to_be_focused()
        person.wait_until_live()  # the page's script runs: Control+Enter is its
        keys.type("keys")
        keys.press("Tab")
        keys.press("Tab")
        expect(page.get_by_label("Text")).to_be_focused()
        keys.type("Written without a mouse")
        keys.press("Control+Enter")
        expect(page.get_by_text("keys is idle and gets it now")).to_be_visible()
        page.locator("summary", has_text="berta").focus()
        keys.press("Enter")
        page.get_by_role("button", name="Dark").focus()
        keys.press("Enter")
        expect(page.locator("html[data-theme=dark]")).to_be_attached()


def test_what_went_wrong_is_said_and_what_was_typed_stays(anna: Visitor) -> None:
    anna.foreseen.append("the server responded with a status of 404")
    anna.go("/compose")
    anna.page.get_by_label("To", exact=True).fill("nobody-by-this-name")
    anna.page.get_by_label("Text").fill("A long text")
    anna.page.get_by_role("button", name="Send", exact=True).click()
    expect(anna.page.get_by_role("alert")).to_contain_text("No agent 'nobody-by-this-name' is registered")
    expect(anna.page.get_by_label("Text")).to_have_value("A long text")


def test_an_agent_is_given_a_label_without_leaving_the_page(anna: Visitor, api: Api) -> None:
    api.join("unnamed")
    anna.go("/agents/unnamed")
    anna.wait_until_live()
    anna.page.evaluate("window.stayed = true")
    anna.page.get_by_label("Label").fill("kitchen")
    anna.page.get_by_role("button", name="Save label").click()
    expect(anna.page.get_by_text("The label is kitchen.")).to_be_visible()
    assert api("GET", "/agents/unnamed")["label"] == "kitchen"
    assert anna.page.evaluate("window.stayed")


def test_every_page_is_fit_for_a_screen_reader(browser: Browser, relay: ServingRelay, api: Api) -> None:
    api.join("web", label="frontend", tags=["shop"], rig="codex", machine="host")
    api.join("deaf", ready=False)
    message = api.send("web", "deaf", "Can you hear me?", subject="Hello", claimable=True)
    api.send("web", "cap:nobody", "Anybody?")
    with visitor(browser, relay.url, viewport={"width": 390, "height": 844}) as person:
        person.go("/login")
        assert person.trip_over() == []
        person.come_in("carla")
        for path in (*PAGES, f"/messages/{message}/recipients"):
            person.go(path)
            assert (path, person.trip_over()) == (path, [])
            wider = person.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert (path, wider) == (path, 0)
        person.page.emulate_media(color_scheme="dark")  # the same document in other colours
        for path in ("/", "/threads/1"):
            person.go(path)
            assert (path, person.trip_over()) == (path, [])


def test_without_script_the_forms_work(browser: Browser, relay: ServingRelay, api: Api) -> None:
    api.join("plain")
    with visitor(browser, relay.url, java_script_enabled=False) as person:
        person.go("/compose?to=plain")
        person.come_in("dora")
        person.page.get_by_label("Text").fill("No script at all")
        person.page.get_by_role("button", name="Send", exact=True).click()
        expect(person.page.get_by_text("plain is idle and gets it now")).to_be_visible()
        person.go("/agents/plain")
        person.page.get_by_label("Tags").fill("red, green")
        person.page.get_by_role("button", name="Save tags").click()
        expect(person.page.get_by_text("The tags are saved.")).to_be_visible()
    assert api("GET", "/agents/plain")["tags"] == ["red", "green"]
