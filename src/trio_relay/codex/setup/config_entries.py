"""Our entries in Codex's ``config.toml``, and every other byte of it as its owner wrote it. Pure.

Codex's own commands register the plugin, and keep comments; but Codex 0.169 also turns CRLF into LF, drops a byte
order mark, ends the last line, spells out inline tables and leaves ``hooks.state`` behind. So the file is mended after
each of them: what the owner wrote, with our entries, or without. Our entries are the tables that bear our names,
wherever they stand and whatever was added inside them; comments are never ours.

A mended text is used only if it means what it should: the owner's settings and ours. Else it is None.
"""

import re
import tomllib
from collections.abc import MutableMapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

MARKETPLACE = "trio-relay"
PLUGIN = "agent-relay"
#: How Codex names the plugin: in ``codex plugin add``, in config.toml and in its answers.
PLUGIN_ID = f"{PLUGIN}@{MARKETPLACE}"

_IN_MARKETPLACES = ("marketplaces", MARKETPLACE)
_IN_PLUGINS = ("plugins", PLUGIN_ID)
_OURS = re.compile(
    rf"""\s*\[\s*(
        marketplaces\s*\.\s*["']?{MARKETPLACE}["']?
        | plugins\s*\.\s*["']{PLUGIN_ID}["']
        | hooks\s*\.\s*state\s*\.\s*["']{PLUGIN_ID}:[^"']*["']
    )\s*(\.[^\]]*)?\]\s*(\#.*)?""",
    re.VERBOSE,
)
_STATE = re.compile(r"\s*\[\s*hooks\s*\.\s*state\s*\]\s*")
_HEADER = re.compile(r"\s*\[")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_BOM = "\ufeff"


def with_entries(original: str, written: str, source: str) -> str | None:
    """The owner's text `original` with our entries out of `written`, which Codex made of it.

    Codex 0.169 writes a file that it cannot read itself where ``plugins`` is an inline table below a comment; then
    the entries are those it would have made of a marketplace at `source`.
    """
    plain = without_entries(original)
    meant = _meaning(written)
    if plain is None:
        return None
    if meant is None:
        meant = _meaning(plain) or {}
        meant.setdefault("marketplaces", {})[MARKETPLACE] = {"source_type": "local", "source": source}
        meant.setdefault("plugins", {})[PLUGIN_ID] = {"enabled": True}
    if _same(_meaning(original), meant):
        return original
    newline = "\r\n" if "\r\n" in plain else "\n"
    text = plain if not plain or plain.endswith("\n") else plain + newline
    for parent, name in (_IN_MARKETPLACES, _IN_PLUGINS):
        values = meant.get(parent, {}).get(name)
        if values is None:
            continue
        entry = [
            f"[{parent}.{_key(name)}]",
            *(f"{_key(key)} = {_value(each)}" for key, each in values.items()),
        ]
        appended = text + (newline if text else "") + newline.join(entry) + newline
        text = appended if _meaning(appended) is not None else _with_inline(text, parent, name, values)
    return text if _same(_meaning(text), meant) else None


def without_entries(text: str) -> str | None:
    """The same text without our entries, and without what Codex keeps about them."""
    wanted = _without_ours(_meaning(text))
    cut = _cut(text)
    for mended in (cut, text, _without_inline(cut), _without_inline(text)):
        if _same(_meaning(mended), wanted):
            return mended
    return None


def _cut(text: str) -> str:
    lines = _LINE.findall(text)
    kept: list[str] = []
    at = 0
    removed_state = False
    while at < len(lines):
        if not _OURS.fullmatch(lines[at].rstrip("\r\n")):
            kept.append(lines[at])
            at += 1
            continue
        removed_state |= "hooks" in lines[at]
        at = _end(lines, at)
        if kept and not kept[-1].strip():
            kept.pop()
    return "".join(_without_empty_state(kept) if removed_state else kept)


def _with_inline(text: str, parent: str, name: str, values: dict[str, Any]) -> str:
    """Add an entry where the owner has written its parent as an inline table, which no header can extend."""
    document = _parse(text)
    ours = tomlkit.inline_table()
    ours.update(values)
    there = document.get(parent)
    if isinstance(there, MutableMapping):
        there[name] = ours
    return _dumped(text, document)


def _without_inline(text: str) -> str:
    document = _parse(text)
    for parent, name in (_IN_MARKETPLACES, _IN_PLUGINS):
        there = document.get(parent)
        if isinstance(there, MutableMapping) and name in there:
            del there[name]
    return _dumped(text, document)


def _parse(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text.removeprefix(_BOM))
    except TOMLKitError:
        return tomlkit.document()


def _dumped(text: str, document: tomlkit.TOMLDocument) -> str:
    return (_BOM if text.startswith(_BOM) else "") + tomlkit.dumps(document)


def has_entries(text: str) -> bool:
    """Whether any of our entries is there."""
    meaning = _meaning(text)
    if meaning is not None:
        return not _same(_meaning(text), _without_ours(meaning))
    return any(_OURS.fullmatch(line.rstrip("\r\n")) for line in _LINE.findall(text))


def is_toml(text: str) -> bool:
    """Whether Codex can read it."""
    return _meaning(text) is not None


def plugins_are_off(text: str) -> bool:
    """Whether the owner has switched plugins off; Codex then says only that it does not find ours."""
    features = (_meaning(text) or {}).get("features")
    return isinstance(features, dict) and features.get("plugins") is False


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else _value(name)


def _value(value: Any) -> str:
    return _inline(value) if isinstance(value, dict) else tomlkit.item(value).as_string()


def _inline(values: dict[str, Any]) -> str:
    return f"{{ {', '.join(f'{_key(key)} = {_value(each)}' for key, each in values.items())} }}"


def _end(lines: list[str], start: int) -> int:
    """Where the table that begins at `start` ends: after its last value. What follows belongs to what follows it."""
    end = at = start + 1
    while at < len(lines) and not _HEADER.match(lines[at]):
        at += 1
        if lines[at - 1].strip() and not lines[at - 1].lstrip().startswith("#"):
            end = at
    return end


def _without_empty_state(lines: list[str]) -> list[str]:
    """Drop ``[hooks.state]`` where nothing stands in it: Codex wrote it, and for us alone."""
    for at, line in enumerate(lines):
        if _STATE.fullmatch(line) and _end(lines, at) == at + 1:
            if any("hooks.state." in one for one in lines):
                return lines
            before = at - 1 if at and not lines[at - 1].strip() else at
            return lines[:before] + lines[at + 1 :]
    return lines


def _meaning(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text.removeprefix(_BOM))
    except tomllib.TOMLDecodeError:
        return None


def _without_ours(config: dict[str, Any] | None) -> dict[str, Any] | None:
    if config is None:
        return None
    config.get("marketplaces", {}).pop(MARKETPLACE, None)
    config.get("plugins", {}).pop(PLUGIN_ID, None)
    state = config.get("hooks", {}).get("state", {})
    for key in [key for key in state if key.startswith(f"{PLUGIN_ID}:")]:
        del state[key]
    return config


def _same(one: dict[str, Any] | None, other: dict[str, Any] | None) -> bool:
    return one is not None and other is not None and _without_empty(one) == _without_empty(other)


def _without_empty(value: Any) -> Any:
    """A table without the tables in which nothing stands: whether their headers are there means nothing to Codex."""
    if not isinstance(value, dict):
        return value
    inner = {key: _without_empty(each) for key, each in value.items()}
    return {key: each for key, each in inner.items() if each != {}}
