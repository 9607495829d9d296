"""Plots of throughput and latency as inline SVG: columns without a word in them, so that they stretch to any width.

A column is a minute (or ten). What is counted stands on the axis; what is timed hangs between its median and the time
that 95 of 100 did not exceed, on an axis on which each line is ten times the one below. The words around a plot (names of
the axes, units, how long ago) are HTML beside it, at equal distances, so they keep their size; every number also stands
in a table.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup, escape

from trio_relay.core.model import Rung
from trio_relay.relay.series import MINUTE, QUARTER, Span, Spread
from trio_relay.relay.web.dashboard.words import RUNGS as SAID
from trio_relay.relay.web.dashboard.words import span as shown_span

#: The drawing's own height; its width is ten a column.
HEIGHT = 100
COLUMN = 10
#: Rungs that are plotted, in the order a delivery reaches them, and the ways it can end otherwise.
RUNGS = (
    Rung.QUEUED,
    Rung.HANDED_OFF,
    Rung.IN_CONTEXT,
    Rung.ANSWERED,
    Rung.SETTLED,
    Rung.EXPIRED,
    Rung.RETRACTED,
    Rung.DEAD,
)


@dataclass(frozen=True, slots=True)
class Period:
    """How far back a page looks: so many minutes are a column; what stands under the axis."""

    name: str
    title: str
    step: int
    ticks: tuple[str, ...]


PERIODS = {
    "hour": Period("hour", "the last hour", 1, ("60 min ago", "45", "30", "15", "now")),
    "day": Period("day", "the last day", QUARTER, ("24 h ago", "18", "12", "6", "now")),
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing, the labels of its vertical axis from the top down, and what to say to whoever cannot see it."""

    drawing: Markup
    labels: tuple[str, ...]
    told: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: when the column began (Unix ms), and everything that is plotted of it, ready to show."""

    at: int
    sends: str
    in_context: str
    answered: str
    requests: str
    polls: str


def ago(span: Span, now: int) -> str:
    """When a column was, in words."""
    minutes = (now - span.at) // MINUTE
    if minutes < 1:
        return "now"
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min ago"


def counted(
    spans: Sequence[Span | None], value: Callable[[Span], float], *, now: int, unit: str, slim: bool = False
) -> Plot:
    """Columns of what was counted; `slim`: a small one that is read beside others, without an axis."""
    known = [(at, span, value(span)) for at, span in enumerate(spans) if span is not None]
    top = nice(max((amount for _, _, amount in known), default=0))
    columns = [
        _column(at, amount / top, 0, f"{ago(span, now)}: {number(amount)} {unit}", "col")
        for at, span, amount in known
        if amount > 0
    ]
    newest = known[-1][2] if known else 0
    most = max((amount for _, _, amount in known), default=0)
    told = f"at most {number(most)}, now {number(newest)}"
    labels = () if slim else (number(top), number(top / 2), "0")
    return Plot(_drawing(spans, columns, lines=0 if slim else 2), labels, told)


def timed(spans: Sequence[Span | None], value: Callable[[Span], Spread], *, now: int) -> Plot | None:
    """Columns from the median to the 95th percentile of what was timed; None if nothing was."""
    known = [
        (at, span, spread, spread.below(0.5) or 0.0, spread.below(0.95) or 0.0)
        for at, span in enumerate(spans)
        if span is not None and (spread := value(span)).count
    ]
    if not known:
        return None
    low = math.floor(math.log10(min(each[3] for each in known)))
    high = max(low + 1, math.ceil(math.log10(max(each[4] for each in known))))
    decades = high - low

    def place(ms: float) -> float:
        return (math.log10(ms) - low) / decades

    columns = []
    for at, span, spread, p50, p95 in known:
        says = f"{ago(span, now)}: {spoken(spread)}, {spread.count} in all"
        columns.append(_column(at, place(p95), place(p50), says, "spread"))
        columns.append(_column(at, place(p50), place(p50), says, "median"))
    together = Spread()
    for each in known:
        together.merge(each[2])
    labels = tuple(_power(power) for power in range(high, low - 1, -1))
    return Plot(_drawing(spans, columns, lines=decades), labels, spoken(together))


def rungs(spans: Sequence[Span | None], *, now: int) -> list[tuple[str, str, Plot]]:
    """For each rung what it is called, how often it was reached, and when, as a small plot."""
    found = []
    for rung in RUNGS:
        reached = partial(_reached, rung)
        total = sum(reached(span) for span in spans if span is not None)
        found.append(
            (SAID[rung], number(total), counted(spans, reached, now=now, unit=SAID[rung], slim=True))
        )
    return found


def _reached(rung: Rung, span: Span) -> int:
    return span.rungs[rung]


def spoken(spread: Spread) -> str:
    """A spread in words: ``half within 12 ms, 95 % within 80 ms``."""
    p50, p95 = spread.below(0.5), spread.below(0.95)
    return "" if p50 is None or p95 is None else f"half within {duration(p50)}, 95 % within {duration(p95)}"


def rows(spans: Sequence[Span | None], step: int) -> list[Row]:
    """The table of all the plots, newest first, without what the relay does not know."""
    return [
        Row(
            span.at,
            number(span.sends / step),
            _pair(span.in_context),
            _pair(span.answered),
            _pair(span.requests),
            str(span.polls),
        )
        for span in reversed(spans)
        if span is not None
    ]


def duration(ms: float) -> str:
    """A time with at most three digits: ``0.4 ms``, ``12 ms``, ``1.5 s``."""
    if ms < 10:
        return f"{ms:.2g} ms"
    if ms < 1000:
        return f"{float(f'{ms:.2g}'):.0f} ms"
    if ms < 10_000:
        return f"{ms / 1000:.2g} s"
    return shown_span(round(ms / 1000) * 1000).replace(".0 s", " s")


def number(amount: float) -> str:
    """A count or a rate, shortly."""
    if amount >= 100 or amount == int(amount):
        return f"{amount:,.0f}".replace(",", "\u2009")
    return f"{amount:.2g}" if amount < 10 else f"{amount:.1f}"


def nice(amount: float) -> float:
    """The next number above that reads well as the end of an axis: 2, 4, 10, 20, 40, 100 and so on."""
    if amount <= 2:
        return 2
    power = 10 ** math.floor(math.log10(amount))
    return float(next(step * power for step in (1, 2, 4, 10) if step * power >= amount))


def _pair(spread: Spread) -> str:
    p50, p95 = spread.below(0.5), spread.below(0.95)
    return "-" if p50 is None or p95 is None else f"{duration(p50)} / {duration(p95)}"


def _power(power: int) -> str:
    """A power of ten of ms, on an axis."""
    return f"{10 ** (power - 3):,} s".replace(",", "\u2009") if power >= 3 else f"{10.0**power:g} ms"


def _column(at: int, top: float, bottom: float, says: str, kind: str) -> str:
    """One column between two heights (shares of the whole), never too low to be seen."""
    upper = HEIGHT * (1 - min(1.0, top))
    height = max(HEIGHT * (1 - bottom) - upper, 1.5)
    return (
        f'<rect class="{kind}" x="{at * COLUMN + 1}" y="{min(upper, HEIGHT - height):.1f}" '
        f'width="{COLUMN - 2}" height="{height:.1f}"><title>{escape(says)}</title></rect>'
    )


def _drawing(spans: Sequence[Span | None], columns: Sequence[str], *, lines: int) -> Markup:
    # Put together as text, which takes a tenth of the time that Markup takes: there are a thousand columns on a page.
    width = len(spans) * COLUMN
    unknown = sum(span is None for span in spans) * COLUMN
    before = (
        f'<rect class="unknown" x="0" y="0" width="{unknown}" height="{HEIGHT}">'
        "<title>before this relay was started</title></rect>"
        if unknown
        else ""
    )
    heights = [HEIGHT * each / lines for each in range(lines + 1)] if lines else []
    grid = "".join(f'<line class="grid" x1="0" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>' for y in heights)
    return Markup(  # noqa: S704  # numbers, and texts that are escaped
        f'<svg class="plot" viewBox="0 0 {width} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true" '
        f'focusable="false">{before}{grid}{"".join(columns)}</svg>'
    )
