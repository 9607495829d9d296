"""Looking into a thread's rollout file, where injected items stand and nowhere else.

Codex lists no injected item in any call (0.150, 0.169), but writes each into the file, a line of JSON an item, under the
id it was given. The file grows at its end only; a line that is being written counts as not there.
"""

from collections.abc import Collection
from pathlib import Path

import msgspec

_MARK = b'"response_item"'


class _Payload(msgspec.Struct):
    id: str = ""


class _Line(msgspec.Struct):
    type: str = ""
    payload: _Payload = msgspec.field(default_factory=_Payload)


def find_items(path: str, wanted: Collection[str]) -> set[str] | None:
    """Say which of the `wanted` item ids stand in a rollout file; None when there is no such file to read."""
    marks = [one.encode() for one in wanted]
    found: set[str] = set()
    try:
        with Path(path).open("rb") as lines:
            for raw in lines:
                if _MARK in raw and any(mark in raw for mark in marks):
                    found |= _item_ids(raw) & set(wanted)
    except OSError:
        return None
    return found


def _item_ids(raw: bytes) -> set[str]:
    try:
        line = msgspec.json.decode(raw, type=_Line)
    except msgspec.DecodeError:
        return set()
    return {line.payload.id} if line.type == "response_item" else set()
