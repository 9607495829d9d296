"""The documentation as a site: under ``/docs`` of every relay, and as files (``scripts/docs DIRECTORY``).

The pages link to each other by relative addresses, so the same HTML works in both places. No script, and nothing from
elsewhere: it can be read offline, saved and printed. It says nothing about this relay, so it needs no token.
"""

from pathlib import Path

from jinja2 import Environment, PackageLoader
from quart import Blueprint, Response

from trio_relay import __version__
from trio_relay.errors import NotFound
from trio_relay.relay.web.site.pages import FRONT, GROUPS, all_pages, images

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'",
    "Cache-Control": "no-cache",
}
_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".webp": "image/webp"}
#: Where the generated description of every call is; on the site only, for the files have no relay behind them.
REFERENCE = "reference"


def site_blueprint() -> Blueprint:
    """The routes of the pages and their pictures."""
    routes = Blueprint("site", __name__)
    rendered: dict[str, str] = {}

    @routes.get("/docs")
    async def front() -> Response:
        """Lead to the first page; the links of all pages are relative to it."""
        return Response(b"", status=307, headers={"Location": f"/docs/{FRONT}.html"})

    @routes.get("/docs/<name>.html")
    async def page(name: str) -> Response:
        if name not in rendered:
            rendered[name] = page_html(name, served=True)
        return Response(rendered[name], headers=_HEADERS, content_type="text/html; charset=utf-8")

    @routes.get("/docs/images/<name>")
    async def image(name: str) -> Response:
        content = images().get(name)
        if content is None:
            raise NotFound(f"there is no picture {name!r}", code="unknown_page")
        return Response(content, headers={"Cache-Control": "max-age=3600"}, content_type=_type_of(name))

    return routes


def page_html(name: str, *, served: bool) -> str:
    """Make the HTML of one page; `served` by a relay, which also has the generated reference.

    Raises:
        NotFound: there is no such page (``unknown_page``).

    """
    from trio_relay.relay.web.site.render import render  # noqa: PLC0415  # Markdown and colours, for who reads

    pages = all_pages()
    if name not in pages:
        raise NotFound(f"there is no page {name!r} in the documentation", code="unknown_page")
    titles = {each.name: each.title for each in pages.values()}
    order = list(pages)
    at = order.index(name)
    template = _templates().get_template("page.html")
    return template.render(
        page=pages[name],
        rendered=render(pages[name].source, titles, FRONT),
        groups={group: [pages[each] for each in names if each in pages] for group, names in GROUPS.items()},
        previous=pages[order[at - 1]] if at else None,
        following=pages[order[at + 1]] if at + 1 < len(order) else None,
        reference=f"{REFERENCE}" if served else None,
        version=__version__,
    )


def write_site(directory: Path) -> list[Path]:
    """Write the whole site into a directory, and give the files."""
    written = {f"{name}.html": page_html(name, served=False).encode() for name in all_pages()}
    written["index.html"] = written[f"{FRONT}.html"]
    written |= {f"images/{name}": content for name, content in images().items()}
    for name, content in written.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return [directory / name for name in sorted(written)]


def _type_of(name: str) -> str:
    return _TYPES.get(Path(name).suffix, "application/octet-stream")


def _templates() -> Environment:
    return Environment(loader=PackageLoader("trio_relay.relay.web.site"), autoescape=True)
