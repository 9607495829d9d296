"""Who talks to whom, as a circle.

Agents stand around it in the order of their ids, so that those of one machine and project stand together and nobody
changes place while people look. What one agent sent another is a stroke that begins broad at the sender and ends in a point at the recipient; the broader,
the more. With few agents the names stand beside them, with many they stand out like the rays of the sun. The same stands
in a table on the page; who cannot see the picture loses nothing.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup, escape

from trio_relay.relay.operations.watching import Talk

#: Agents that are drawn; the quieter ones stand in the table only.
DRAWN = 60
#: Strokes that are drawn, the broadest.
STROKES = 300
#: With more agents than this the names stand out like rays.
_BESIDE = 14
_LETTERS = 26
_LETTER = 6.6
_ARC = 21.0
_BROADEST = 7.0


@dataclass(frozen=True, slots=True)
class _Point:
    x: float
    y: float

    def __str__(self) -> str:
        return f"{self.x:.1f} {self.y:.1f}"


@dataclass(frozen=True, slots=True)
class Circle:
    """The drawing; how many agents and how many pairs are not in it."""

    drawing: Markup
    agents_left_out: int
    pairs_left_out: int


def draw(talks: Sequence[Talk], names: dict[str, str], *, chosen: str | None = None) -> Circle:
    """Draw who talked to whom; `names`: what an agent is called, where that is not its id. `chosen`: the rest is dimmed."""
    volume: Counter[str] = Counter()
    for talk in talks:
        volume[talk.sender] += talk.messages
        volume[talk.recipient] += talk.messages
    if chosen is not None and chosen in volume:
        volume[chosen] += sum(volume.values())
    agents = sorted(agent for agent, _ in volume.most_common(DRAWN))
    among = [talk for talk in talks if talk.sender in agents and talk.recipient in agents]
    drawn = sorted(among, key=lambda talk: (chosen in (talk.sender, talk.recipient), talk.messages))[
        -STROKES:
    ]
    radius = max(110.0, len(agents) * _ARC / math.tau)
    rays = len(agents) > _BESIDE
    longest = max((len(shortened(names.get(agent, agent))) for agent in agents), default=0) * _LETTER + 18
    width, height = 2 * (radius + longest), 2 * (radius + (longest if rays else 30))
    center = _Point(width / 2, height / 2)
    places = {agent: _on_circle(center, radius, _angle(at, len(agents))) for at, agent in enumerate(agents)}
    most = max((talk.messages for talk in drawn), default=1)
    strokes = [
        _stroke(places[talk.sender], places[talk.recipient], center, talk, most, names, chosen)
        for talk in drawn
    ]
    dots = [
        _agent(agent, at, len(agents), center, radius, rays=rays, names=names, chosen=chosen)
        for at, agent in enumerate(agents)
    ]
    classes = f"circle{' rays' if rays else ''}{' has-chosen' if chosen in agents else ''}"
    drawing = Markup(  # noqa: S704  # numbers, and texts that are escaped
        f'<svg class="{classes}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="group" aria-label="Who talks to whom">{"".join(strokes)}{"".join(dots)}</svg>'
    )
    return Circle(drawing, len(volume) - len(agents), len(talks) - len(drawn))


def shortened(name: str) -> str:
    """A name that is not too long to stand beside a dot: without its middle."""
    if len(name) <= _LETTERS:
        return name
    end = _LETTERS // 2 - 2
    return f"{name[: _LETTERS - end - 1]}…{name[-end:]}"


def _angle(at: int, count: int) -> float:
    """Where the agent number `at` stands; the first at the left, so that two stand side by side."""
    return math.pi + math.tau * at / max(count, 1)


def _on_circle(center: _Point, radius: float, angle: float) -> _Point:
    return _Point(center.x + radius * math.cos(angle), center.y + radius * math.sin(angle))


def _stroke(  # noqa: PLR0917  # one drawing's own helper
    begin: _Point,
    end: _Point,
    center: _Point,
    talk: Talk,
    most: int,
    names: dict[str, str],
    chosen: str | None,
) -> str:
    length = math.dist((begin.x, begin.y), (end.x, end.y)) or 1.0
    across = _Point((end.y - begin.y) / length, (begin.x - end.x) / length)
    # Bent towards the middle, and to its own right, so that an answer does not lie upon the question.
    middle = _Point((begin.x + end.x) / 2, (begin.y + end.y) / 2)
    bend = _Point(
        middle.x + (center.x - middle.x) * 0.6 + across.x * length * 0.12,
        middle.y + (center.y - middle.y) * 0.6 + across.y * length * 0.12,
    )
    half = 0.5 * max(1.2, _BROADEST * math.sqrt(talk.messages / most))
    left, right = (
        _Point(begin.x + side * across.x * half, begin.y + side * across.y * half) for side in (1, -1)
    )
    near, far = (
        _Point(bend.x + side * across.x * half / 2, bend.y + side * across.y * half / 2) for side in (1, -1)
    )
    classes = "talk chosen" if chosen in (talk.sender, talk.recipient) else "talk"
    counted = "1 message" if talk.messages == 1 else f"{talk.messages} messages"
    said = f"{names.get(talk.sender, talk.sender)} → {names.get(talk.recipient, talk.recipient)}: {counted}"
    return (
        f'<path class="{classes}" data-from="{escape(talk.sender)}" data-to="{escape(talk.recipient)}" '
        f'd="M{left} Q{near} {end} Q{far} {right}Z"><title>{escape(said)}</title></path>'
    )


def _agent(
    agent: str,
    at: int,
    count: int,
    center: _Point,
    radius: float,
    *,
    rays: bool,
    names: dict[str, str],
    chosen: str | None,
) -> str:
    angle = _angle(at, count)
    place = _on_circle(center, radius, angle)
    beside = _on_circle(center, radius + 11, angle)
    name = names.get(agent, agent)
    on_the_left = math.cos(angle) < -1e-6
    anchor = "end" if on_the_left else "start"
    if not rays and abs(math.cos(angle)) < 0.2:
        anchor = "middle"
    turned = ""
    if rays:
        degrees = math.degrees(angle) + (180 if on_the_left else 0)
        turned = f' transform="rotate({degrees:.1f} {beside})"'
    down = 4 if rays or abs(math.sin(angle)) < 0.9 else 4 + 6 * math.sin(angle)
    path = "/map" if agent == chosen else f"/map?agent={quote(agent, safe='')}"
    title = f"{name} ({agent})" if name != agent else agent
    return (
        f'<a href="{path}" class="node{" chosen" if agent == chosen else ""}" data-agent="{escape(agent)}">'
        f'<title>{escape(title)}</title><circle cx="{place.x:.1f}" cy="{place.y:.1f}" r="5"/>'
        f'<text x="{beside.x:.1f}" y="{beside.y:.1f}" dy="{down:.0f}" text-anchor="{anchor}"{turned}>'
        f"{escape(shortened(name))}</text></a>"
    )
