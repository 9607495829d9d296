"""What happened when: one row a minute of the last day, kept in memory for the plots of the dashboard.

A minute costs a few counters and three histograms whose bins grow by a fifth, so a day costs a few megabytes at most
and an observation a microsecond, however busy the relay is. It begins empty when the process does, and holds
what this process did: with several relays on one database each has its own.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from trio_relay.core.model import Rung

MINUTE = 60_000
#: Minutes that are kept.
KEPT = 24 * 60
#: Bins of a histogram between a number and its double: what is read from it is at most 9 % off.
_BINS = 4
_SMALLEST = 0.01


class Spread:
    """Durations in ms, as a histogram of growing bins."""

    __slots__ = ("bins", "count")

    def __init__(self) -> None:
        self.bins: Counter[int] = Counter()
        self.count = 0

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
    """The minutes of the last day. `now` answers Unix ms."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._minutes: dict[int, Span] = {}
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

    def spans(self, minutes: int, *, step: int = 1) -> list[Span | None]:
        """The last so many `minutes`, `step` of them together, oldest first; None: before this process began.

        The last one is the present one, which is not over.
        """
        last = self._now() // MINUTE // step
        first_known = self.since // MINUTE // step
        found: list[Span | None] = []
        for number in range(last - minutes // step + 1, last + 1):
            if number < first_known:
                found.append(None)
                continue
            span = Span(number * step * MINUTE)
            for minute in range(number * step, (number + 1) * step):
                if minute in self._minutes:
                    span.merge(self._minutes[minute])
            found.append(span)
        return found

    def _minute(self) -> Span:
        number = self._now() // MINUTE
        found = self._minutes.get(number)
        if found is None:
            found = self._minutes[number] = Span(number * MINUTE)
            for old in [each for each in self._minutes if each <= number - KEPT]:
                del self._minutes[old]
        return found
