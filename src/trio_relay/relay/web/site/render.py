"""From the Markdown of a page to its HTML: headings one can link to, tables that scroll, code in colours.

Links between pages are written for readers of the files (``codex.md#install``) and become links between the pages;
links to files that are not pages lose their address and stay as text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

#: What the first word behind a fence is to the highlighter; other words are its own.
_LANGUAGES = {"sh": "bash", "console": "console"}
_COMMENT = re.compile(r"^<!--.*?-->\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the second rank: where it is, and its words."""

    anchor: str
    text: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page as HTML, and what is in it."""

    body: Markup
    headings: Sequence[Heading]


def render(source: str, titles: Mapping[str, str], front: str) -> Rendered:
    """Render one page. `titles` are the names of all pages, `front` is the one that stands for the README."""
    parser = MarkdownIt("commonmark", {"html": False, "highlight": _coloured}).enable("table")
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    tokens = parser.parse(_COMMENT.sub("", source))
    headings: list[Heading] = []
    known: dict[str, int] = {}
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            words = _words(tokens[at + 1])
            anchor = _anchor(words, known)
            token.attrSet("id", anchor)
            if token.tag == "h2":
                headings.append(Heading(anchor, words))
        for child in token.children or ():
            if child.type == "link_open":
                _lead(child, titles, front)
    if tokens and tokens[0].tag == "h1":
        del tokens[:3]  # the page shows its title itself
    body: str = parser.renderer.render(tokens, parser.options, {})
    return Rendered(Markup(body), headings)  # noqa: S704  # HTML in the source is shown, not passed on


def _lead(link: Token, titles: Mapping[str, str], front: str) -> None:
    """Let a link between files lead to the page of that file."""
    address = str(link.attrGet("href") or "")
    if re.match(r"[a-z]+:|#", address):
        return
    file, _, anchor = address.partition("#")
    name = front if file in {"../README.md", "README.md"} else file.removesuffix(".md")
    if name in titles:
        link.attrSet("href", f"{name}.html" + (f"#{anchor}" if anchor else ""))
    else:
        link.attrs.pop("href", None)


def _words(inline: Token) -> str:
    return "".join(child.content for child in inline.children or () if child.type in {"text", "code_inline"})


def _anchor(words: str, known: dict[str, int]) -> str:
    """Make the anchor that GitHub makes of a heading, so that links work in both places."""
    plain = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
    known[plain] = known.get(plain, -1) + 1
    return plain if not known[plain] else f"{plain}-{known[plain]}"


def _coloured(code: str, language: str, _attributes: str) -> str:
    try:
        lexer = get_lexer_by_name(_LANGUAGES.get(language, language))
    except ClassNotFound:
        return ""  # as it is, escaped
    text: str = highlight(code, lexer, HtmlFormatter(nowrap=True))
    return text


def _table_open(*_given: Any) -> str:
    return '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>\n'


def _table_close(*_given: Any) -> str:
    return "</table></div>\n"
