"""What happened when: every minute of the last hour, every quarter of the last day, in memory, for the dashboard's plots.

A span is a few counters and three histograms whose bins grow by a fifth, and there are 160 of them, so they cost a megabyte
at most and an observation a few microseconds, however busy the relay is. They begin empty when the process does, and hold what
this process did: with several relays on one database each has its own.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from trio_relay.core.model import Rung

MINUTE = 60_000
#: Minutes in a longer span, and how many of either are told of.
QUARTER, MINUTES, QUARTERS = 15, 60, 96
#: Bins of a histogram between a number and its double: what is read from it is at most 9 % off.
_BINS = 4
_SMALLEST = 0.01


@dataclass(slots=True)
class Spread:
    """Durations in ms, as a histogram of growing bins."""

    bins: Counter[int] = field(default_factory=Counter)
    count: int = 0

    def add(self, ms: float) -> None:
        """Count one duration."""
        self.bins[round(_BINS * math.log2(max(ms, _SMALLEST)))] += 1
        self.count += 1

    def merge(self, other: "Spread") -> None:
        """Count all of another."""
        self.bins.update(other.bins)
        self.count += other.count

    def below(self, share: float) -> float | None:
        """The duration that this share (0 to 1) did not exceed, about; None if there were none."""
        wanted = share * self.count
        seen = 0
        for each in sorted(self.bins):
            seen += self.bins[each]
            if seen >= wanted:
                return float(2 ** (each / _BINS))
        return None


@dataclass(slots=True)
class Span:
    """What happened from `at` (Unix ms) until the next one. `polls`: the most that were open at once."""

    at: int
    sends: int = 0
    rungs: Counter[str] = field(default_factory=Counter)
    requests: Spread = field(default_factory=Spread)
    in_context: Spread = field(default_factory=Spread)
    answered: Spread = field(default_factory=Spread)
    polls: int = 0

    def merge(self, other: "Span") -> None:
        """Add what happened in another."""
        self.sends += other.sends
        self.rungs.update(other.rungs)
        self.requests.merge(other.requests)
        self.in_context.merge(other.in_context)
        self.answered.merge(other.answered)
        self.polls = max(self.polls, other.polls)


class Series:
    """The last hour and the last day. `now` answers Unix ms."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        #: Spans by their number since the epoch: the minutes, and the quarters without the present minute.
        self._minutes: dict[int, Span] = {}
        self._quarters: dict[int, Span] = {}
        self._present: int | None = None
        #: Since when there is something to know, Unix ms.
        self.since = now()

    def add(self, tally: Mapping[tuple[str, str], int], took: Iterable[tuple[Rung, int]] = ()) -> None:
        """Add what a transaction did; `took`: how long after its acceptance a message reached a rung, ms."""
        minute = self._minute()
        for (family, label), count in tally.items():
            if family == "rung":
                minute.rungs[label] += count
            elif (family, label) == ("event", "message.new"):
                minute.sends += count
        for rung, ms in took:
            (minute.in_context if rung is Rung.IN_CONTEXT else minute.answered).add(ms)

    def answered(self, seconds: float) -> None:
        """A request was answered that did not wait for anything."""
        self._minute().requests.add(seconds * 1000)

    def polling(self, polls: int) -> None:
        """So many polls are open now."""
        minute = self._minute()
        minute.polls = max(minute.polls, polls)

    def hour(self) -> list[Span | None]:
        """The minutes of the last hour, oldest first, the present one last; None: before this process began."""
        self._minute()
        return self._last(MINUTES, MINUTE, self._minutes)

    def day(self) -> list[Span | None]:
        """The quarters of the last day, oldest first, the present one last; None: before this process began."""
        minute = self._minute()
        found = self._last(QUARTERS, QUARTER * MINUTE, self._quarters)
        present = Span(self._now() // MINUTE // QUARTER * QUARTER * MINUTE)
        if found[-1] is not None:
            present.merge(found[-1])
        present.merge(minute)
        return [*found[:-1], present]

    def _last(self, count: int, length: int, spans: Mapping[int, Span]) -> list[Span | None]:
        last, first_known = self._now() // length, self.since // length
        return [
            None if number < first_known else spans.get(number) or Span(number * length)
            for number in range(last - count + 1, last + 1)
        ]

    def _minute(self) -> Span:
        number = self._now() // MINUTE
        if number != self._present:
            self._begin(number)
        return self._minutes[number]

    def _begin(self, number: int) -> None:
        """Begin a minute: the one before goes into its quarter, and what is too old is forgotten."""
        if self._present is not None:
            quarter = self._present // QUARTER
            whole = self._quarters.setdefault(quarter, Span(quarter * QUARTER * MINUTE))
            whole.merge(self._minutes[self._present])
        self._present = number
        # Also where a clock was set back to a minute that was: what it held is in its quarter already.
        self._minutes[number] = Span(number * MINUTE)
        _forget(self._minutes, number - MINUTES)
        _forget(self._quarters, number // QUARTER - QUARTERS)


def _forget(spans: dict[int, Span], up_to: int) -> None:
    for old in [each for each in spans if each <= up_to]:
        del spans[old]
