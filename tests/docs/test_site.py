"""The documentation as a site: whole, linked within, in need of nothing from elsewhere."""

import re
from pathlib import Path

import pytest

from support.reference import DOCS
from support.relay import Room, open_room
from trio_relay.errors import NotFound
from trio_relay.relay.web.site import page_html, write_site
from trio_relay.relay.web.site.pages import GROUPS, all_pages
from trio_relay.relay.web.site.render import render
from trio_relay.settings import ServerSettings


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    write_site(directory)
    return directory


def test_every_file_of_the_documentation_is_a_page() -> None:
    listed = [name for names in GROUPS.values() for name in names]
    assert {file.stem for file in DOCS.glob("*.md")} <= set(listed)
    assert set(all_pages()) <= set(listed)


def test_every_link_of_every_page_leads_to_a_place_that_is_there(site: Path) -> None:
    pages = {file.name: file.read_text() for file in site.glob("*.html")}
    anchors = {name: set(re.findall(r'\bid="([^"]+)"', page)) for name, page in pages.items()}
    dead = []
    for name, page in pages.items():
        for address in re.findall(r'(?:href|src)="([^"]+)"', page):
            file, _, anchor = address.partition("#")
            if address.startswith("https://"):
                continue
            there = file in pages or (site / file).is_file() if file else True
            if not there or (anchor and anchor not in anchors[file or name]):
                dead.append(f"{name}: {address}")
    assert dead == []


def test_no_page_needs_a_script_or_anything_from_elsewhere(site: Path) -> None:
    for file in site.glob("*.html"):
        assert not re.search(r"<script|<link|@import|url\(|src=\"http", file.read_text()), file.name


def test_no_anchor_is_there_twice(site: Path) -> None:
    for file in site.glob("*.html"):
        ids = re.findall(r'\bid="([^"]+)"', file.read_text())
        assert len(ids) == len(set(ids)), file.name


async def test_a_relay_serves_the_pages_to_anyone(tmp_path: Path, autojump_clock: object) -> None:
    async with open_room(tmp_path, ServerSettings(token="secret")) as room:
        front = await room.http("GET", "/docs")
        assert (front.status_code, front.headers["location"]) == (307, "/docs/why.html")
        page = await room.http("GET", "/docs/guarantees.html")
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert 'href="reference"' in page.text


async def test_what_is_not_there_is_said(room: Room) -> None:
    for path in ("/docs/none.html", "/docs/images/none.png", "/docs/images/..%2Fwhy.md"):
        assert (await room.http("GET", path)).status_code == 404
    with pytest.raises(NotFound):
        page_html("none", served=False)


def test_markup_in_the_source_is_shown_and_not_obeyed() -> None:
    body = render(
        '# T\n\n<script>x</script> `<b>`\n\n<!-- from the code: x -->\n\n```json\n{"a": "<i>"}\n```\n',
        {},
        "why",
    ).body
    assert "<script>" not in body
    assert "&lt;script&gt;" in body
    assert "from the code" not in body
    assert "<i>" not in body


def test_links_between_files_become_links_between_pages() -> None:
    body = render(
        "[a](cli.md#x) [b](../README.md) [c](../scripts/x.sh) [d](https://e.x/)",
        {"cli": "C", "why": "W"},
        "why",
    ).body
    assert re.findall(r"<a[^>]*>", body) == [
        '<a href="cli.html#x">',
        '<a href="why.html">',
        "<a>",
        '<a href="https://e.x/">',
    ]
