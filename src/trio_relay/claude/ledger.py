"""Every message of one Claude Code session, and where it stands. Plain functions: it waits for nothing, calls nobody.

A message is announced by a notice (`notices.py`), is in the model's context once the session has fetched its text, and
is over when the turn is over in which it was fetched. A notice can be lost or passed over: what was not fetched is announced
again once the session is idle, `TELLINGS` times in all. After that it stays unread, for the person or the next session.
Times are seconds of any clock that only goes forward.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from trio_relay.core.batching import asked_delivery
from trio_relay.core.channels import wants
from trio_relay.core.model import SILENT_TYPES, Delivery, Rung
from trio_relay.core.prompts import plain
from trio_relay.core.wire import InboxMessage

#: How often a message is announced before it is left to lie: the relay gives a message up after five hand-offs.
TELLINGS = 3
#: Seconds an idle session is left alone before it hears of the same message again; longer each time.
PATIENCE = (10.0, 60.0)
#: Messages announced at once.
_MOST = 10


class Stage(Enum):
    """Where a message stands with its session."""

    NEW = "new"
    TOLD = "told"
    FETCHED = "fetched"


@dataclass(slots=True, eq=False)
class Entry:
    """One message: how often and when it was announced, and whether the session was shown the announcement."""

    message: InboxMessage
    arrived: float
    stage: Stage = Stage.NEW
    tellings: int = 0
    told_at: float = 0.0
    shown: bool = False

    @property
    def delivery(self) -> Delivery | None:
        """The way of delivery its sender chose."""
        return asked_delivery(self.message)

    @property
    def is_patient(self) -> bool:
        """Whether it wakes nobody: it goes along with whatever begins a turn."""
        return self.delivery is Delivery.FYI


class Ledger:
    """The books. `channels`: what the agent listens to; `digest_window`: how long digests gather, seconds."""

    def __init__(self, channels: Collection[str], digest_window: float) -> None:
        self._channels = channels
        self._digest_window = digest_window
        self._entries: dict[int, Entry] = {}

    @property
    def in_hand(self) -> list[int]:
        """Every message that is not over, for the relay to tell which of them has lost its point."""
        return list(self._entries)

    def __contains__(self, message_id: int) -> bool:
        return message_id in self._entries

    def entry(self, message_id: int) -> Entry | None:
        """Look one up."""
        return self._entries.get(message_id)

    def take_in(
        self, messages: Iterable[InboxMessage], now: float, *, told: bool = False
    ) -> list[tuple[InboxMessage, str]]:
        """Take what arrived; answer what is not for this session's ears, and why (``silent``, ``channel``).

        `told`: what was handed off has just been announced in this session, by a keeper that died. Work is announced
        anew, because the claim on it died with that keeper.
        """
        skipped = []
        for message in messages:
            if message.id in self._entries:
                continue
            if message.type in SILENT_TYPES:
                skipped.append((message, "silent"))
            elif not wants(self._channels, message.channel):
                skipped.append((message, "channel"))
            else:
                entry = self._entries[message.id] = Entry(message, now)
                if told and message.state is Rung.HANDED_OFF and not message.claimable:
                    self.told([entry], now)
        return skipped

    def recover(self, messages: Iterable[InboxMessage], now: float) -> None:
        """Take up what an earlier process of the session has fetched."""
        for message in messages:
            self._entries[message.id] = Entry(message, now, Stage.FETCHED)

    def drop(self, message_id: int) -> bool:
        """Forget a message: it is over, or has lost its point. Whether it was there."""
        return self._entries.pop(message_id, None) is not None

    # Announcing

    def due(self, now: float, *, idle_since: float | None, window: float) -> tuple[list[Entry], float]:
        """Pick what is to be announced now, oldest first, or say when to look again (maybe never).

        `idle_since`: when the session became idle; None while a turn runs. `window`: how long a burst may gather.
        """
        found: list[Entry] = []
        again_at = float("inf")
        for entry in self._entries.values():
            at = self._due_at(entry, idle_since, window)
            if at <= now:
                found.append(entry)
            else:
                again_at = min(again_at, at)
        if any(not entry.is_patient for entry in found):
            found += [
                entry for entry in self._entries.values() if entry.is_patient and entry.stage is Stage.NEW
            ]
        found.sort(key=lambda entry: entry.message.inbox_seq)
        return found[:_MOST], again_at

    def _due_at(self, entry: Entry, idle_since: float | None, window: float) -> float:
        never = float("inf")
        if entry.stage is Stage.NEW:
            if entry.is_patient or (entry.delivery in {Delivery.START, Delivery.IDLE} and idle_since is None):
                return never
            if entry.delivery is Delivery.DIGEST:
                return never if idle_since is None else entry.arrived + self._digest_window
            return entry.arrived + window
        if (
            entry.stage is Stage.FETCHED
            or entry.is_patient
            or idle_since is None
            or entry.tellings >= TELLINGS
        ):
            return never
        return max(entry.told_at, idle_since) + PATIENCE[min(entry.tellings, len(PATIENCE)) - 1]

    def waiting_for_a_prompt(self) -> list[Entry]:
        """What wakes nobody and may go along with a prompt now; of many, the oldest."""
        waiting = [entry for entry in self._entries.values() if entry.is_patient and entry.stage is Stage.NEW]
        return waiting[:_MOST]

    def told(self, entries: Iterable[Entry], now: float) -> None:
        """Note that these were announced; what the session has fetched meanwhile stays fetched."""
        for entry in entries:
            if entry.stage is not Stage.FETCHED:
                entry.stage = Stage.TOLD
            entry.told_at, entry.shown = now, False
            entry.tellings += 1

    def shown(self, numbers: Iterable[int]) -> list[Entry]:
        """Note that these announcements were put before the model; those that were announced by us."""
        found = [entry for number in numbers if (entry := self._entries.get(number)) is not None]
        for entry in found:
            entry.shown = True
        return found

    # Fetching, and the end

    def fetched_in(self, command: str, output: str) -> list[Entry]:
        """Find the messages whose text stands in what a tool has given to the model, and note that they are there.

        `command` is what the tool was told. Whatever program shows the text, it is compared letter by letter; a text cut
        off before its end, or at a length that no output exceeds, counts from its beginning.
        """
        shown = f"{_letters(output)}\n{''.join(output.split())}"
        numbers = _numbers(output) | _numbers(command)
        found = [
            entry
            for number, entry in self._entries.items()
            if number in numbers and any(each in shown for each in _as_shown(entry.message.body))
        ]
        fresh = [entry for entry in found if entry.stage is not Stage.FETCHED]
        for entry in fresh:
            entry.stage = Stage.FETCHED
        return fresh

    def turn_over(self) -> list[Entry]:
        """End a turn: what was fetched is over, and so is what was only to be known and was shown. They are forgotten."""
        over = [
            entry
            for entry in self._entries.values()
            if entry.stage is Stage.FETCHED or (entry.is_patient and entry.shown)
        ]
        for entry in over:
            del self._entries[entry.message.id]
        return over

    def given_up(self, now: float, *, idle_since: float | None) -> tuple[list[Entry], float]:
        """What others may have: work announced as often as it may be, and not fetched; and when to look again."""
        found: list[Entry] = []
        again_at = float("inf")
        for entry in self._entries.values():
            if entry.message.claimable and entry.stage is Stage.TOLD and entry.tellings >= TELLINGS:
                at = float("inf") if idle_since is None else max(entry.told_at, idle_since) + PATIENCE[-1]
                if at <= now:
                    found.append(entry)
                again_at = min(again_at, at)
        return found, again_at


#: Letters of a text that must be seen in an output.
_COMPARED = 2000


def _as_shown(body: str) -> list[str]:
    """The letters of a text as our commands and tools print it: every character visible, or as JSON; its signs, if it has none."""
    letters = [_letters(form)[:_COMPARED] for form in (plain(body), json.dumps(body))]
    signs = "".join(plain(body).split())[:_COMPARED]
    return letters if letters[0] else [signs, *filter(None, letters[1:])]


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def _numbers(text: str) -> set[int]:
    found: set[int] = set()
    number = ""
    for character in f"{text} ":
        if character.isascii() and character.isdigit():
            number += character
        elif number:
            if len(number) < 19:
                found.add(int(number))
            number = ""
    return found
