"""How things are said on the pages: times, states, agents, each one way everywhere. Filters of the templates."""

from collections.abc import Mapping
from datetime import UTC, datetime

from markupsafe import Markup

from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import Agent
from trio_relay.relay.operations.board import DEAF

#: A rung as a person says it.
RUNGS: Mapping[str, str] = {
    Rung.ACCEPTED: "accepted",
    Rung.QUEUED: "queued",
    Rung.HANDED_OFF: "handed off",
    Rung.IN_CONTEXT: "in context",
    Rung.ANSWERED: "answered",
    Rung.SETTLED: "settled",
    Rung.EXPIRED: "expired",
    Rung.RETRACTED: "retracted",
    Rung.DEAD: "dead",
}
#: What each rung means, for whoever meets it for the first time.
MEANINGS: Mapping[str, str] = {
    Rung.ACCEPTED: "durable on the relay's disk",
    Rung.QUEUED: "in the recipient's inbox",
    Rung.HANDED_OFF: "the recipient's program took it",
    Rung.IN_CONTEXT: "proven in the model's context",
    Rung.ANSWERED: "a reply is linked",
    Rung.SETTLED: "the recipient is done with it",
    Rung.EXPIRED: "outlived its time before it arrived",
    Rung.RETRACTED: "withdrawn before it arrived",
    Rung.DEAD: "given up; redrive gives it another life",
}


def ago(at: int | None, now: int) -> str:
    """How long before `now` (both Unix ms) something was, in the coarsest unit that says enough."""
    if at is None:
        return "never"
    seconds = max(0, (now - at) // 1000)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago" if seconds >= 5 else "just now"


def span(ms: int) -> str:
    """A length of time: ``12 ms``, ``2.1 s``, ``3 min 5 s``, ``2 h 10 min``, ``3 d``."""
    if ms < 1000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(ms // 1000, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d"


def when(at: int | None, now: int) -> Markup:
    """A moment as people want it, "3 min ago"; the script beside the page keeps it true."""
    if at is None:
        return Markup("<span class=muted>never</span>")
    instant = datetime.fromtimestamp(at / 1000, UTC)
    return Markup('<time datetime="{}" title="{} UTC" data-ago="{}">{}</time>').format(
        instant.isoformat(timespec="milliseconds"), instant.strftime("%Y-%m-%d %H:%M:%S"), at, ago(at, now)
    )


def clock(at: int) -> Markup:
    """A moment as the clock shows it, with milliseconds; the script makes it the reader's own time."""
    instant = datetime.fromtimestamp(at / 1000, UTC)
    shown = instant.strftime("%H:%M:%S.") + f"{at % 1000:03d}"
    return Markup('<time datetime="{}" title="{} UTC" data-clock="{}">{}</time>').format(
        instant.isoformat(timespec="milliseconds"), instant.strftime("%Y-%m-%d %H:%M:%S"), at, shown
    )


def condition(agent: Agent) -> str:
    """One word for an agent's status and readiness: idle, busy, online, deaf (there, but not ready), offline."""
    if agent.status is AgentStatus.OFFLINE or agent.ready:
        return agent.status.value
    return DEAF


def shown_name(agent: Agent) -> str:
    """What to call an agent: its label, its name, else its id."""
    return agent.label or agent.name or agent.id


def excerpt(text: str, length: int = 160) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text[: length * 4].split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def left(until: int, now: int) -> str:
    """How much time there is yet: ``4 min 10 s``; ``over`` when there is none. The script beside the page counts down."""
    if until <= now:
        return "over"
    seconds = -((now - until) // 1000)
    for size, unit, smaller, small_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {unit} {rest} {small_unit}" if rest else f"{seconds // size} {unit}"
    return f"{seconds} s"


def thousands(number: int) -> str:
    """A count, its digits in groups of three."""
    return f"{number:,}".replace(",", "\u202f")


def minute(at: int) -> Markup:
    """A moment as hours and minutes; the script makes it the reader's own time."""
    instant = datetime.fromtimestamp(at / 1000, UTC)
    return Markup('<time datetime="{}" data-minute="{}">{} UTC</time>').format(
        instant.isoformat(timespec="minutes"), at, instant.strftime("%H:%M")
    )
