"""Looking into a thread's rollout file, where injected items stand and nowhere else.

Codex lists no injected item in any call (0.130 to 0.169), but writes each into the file, a line of JSON an item, under
the id it was given; 0.130 keeps no ids, and has it in the text. The file grows at its end only; a line that is being
written counts as not there.
"""

from collections.abc import Collection
from pathlib import Path

import msgspec

from trio_relay.codex.protocol import signature

_MARK = b'"response_item"'


class _Part(msgspec.Struct):
    text: str = ""


class _Payload(msgspec.Struct):
    id: str | None = None
    content: list[_Part] | None = None

    @property
    def item_id(self) -> str | None:
        """The id it was injected under."""
        if self.id is not None or not self.content:
            return self.id
        return signature(self.content[-1].text)


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
    item_id = line.payload.item_id if line.type == "response_item" else None
    return set() if item_id is None else {item_id}
