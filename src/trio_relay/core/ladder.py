"""The delivery ladder: which rung may follow which.

A delivery climbs ``queued → handed_off → in_context → answered → settled`` and may skip rungs upwards (a restarted
sidecar finds a message in the thread whose hand-off it never reported; a script that reads its inbox over HTTP
answers without a Codex thread). It never goes down, with one exception: a hand-off that was lost is handed off
again, which is a new attempt on the same rung. The end rungs are final.

Repeating a report is always safe: a rung at or below the present one changes nothing and is no error (G10).
"""

from collections.abc import Collection
from enum import Enum

from trio_relay.core.model import Rung

_CLIMB = (Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED)
_HEIGHT = {rung: height for height, rung in enumerate(_CLIMB)}
FINAL = frozenset({Rung.SETTLED, Rung.EXPIRED, Rung.RETRACTED, Rung.DEAD})
#: What a recipient may report. The relay itself writes the others. ``retracted`` is for what was withdrawn and then
#: taken back from where it waited.
REPORTABLE = frozenset(
    {Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED, Rung.DEAD, Rung.RETRACTED}
)


def was_on(seen: Collection[Rung], rung: Rung) -> bool:
    """Whether a delivery that was seen on these rungs was on `rung`, or on one that implies it.

    Being settled implies nothing: a read mark or another agent's claim settles a message no model has seen.
    """
    if rung is Rung.SETTLED:
        return Rung.SETTLED in seen
    return any(higher in seen for higher in _CLIMB[_CLIMB.index(rung) : _CLIMB.index(Rung.SETTLED)])


class Step(Enum):
    """What a report does to a delivery."""

    CLIMB = "climb"
    AGAIN = "again"  # another hand-off: counted as an attempt
    NOTHING = "nothing"  # already there, or above: a repeated or late report
    ENDED = "ended"  # the delivery ended another way: the report comes too late


def step(current: Rung, reported: Rung) -> Step:
    """Decide what `reported` does to a delivery that stands on `current`."""
    if current in FINAL:
        if reported == current or (current is Rung.SETTLED and reported in _HEIGHT):
            return Step.NOTHING
        return Step.ENDED
    if reported is Rung.HANDED_OFF and current is Rung.HANDED_OFF:
        return Step.AGAIN
    if reported in _HEIGHT and _HEIGHT[reported] <= _HEIGHT[current]:
        return Step.NOTHING
    return Step.CLIMB
