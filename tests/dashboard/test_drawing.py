"""The map and the plots as they are made on the server, without a browser."""

import re
from collections import Counter

import pytest

from trio_relay.core.model import Rung
from trio_relay.relay.operations.watching import Talk
from trio_relay.relay.series import MINUTE, Span
from trio_relay.relay.web.dashboard import circle, plots, words

NOW = 30_000_000 * MINUTE


def talk(sender: str, recipient: str, messages: int = 1) -> Talk:
    return Talk(sender, recipient, messages, NOW)


def numbers(drawing: str, attribute: str) -> list[float]:
    return [float(found) for found in re.findall(rf'(?<![\w-]){attribute}="(-?[\d.]+)"', drawing)]


def test_everybody_who_talks_is_on_the_map_and_names_are_escaped() -> None:
    drawn = circle.draw([talk("a", "<b>"), talk("<b>", "c/d")], {"a": "Anna & co"})
    assert Counter(re.findall(r'<a href="([^"]+)"', drawn.drawing)) == Counter(
        ["/map?agent=a", "/map?agent=%3Cb%3E", "/map?agent=c%2Fd"]
    )
    assert "<b>" not in drawn.drawing
    assert "Anna &amp; co → &lt;b&gt;: 1 message" in drawn.drawing


def test_the_quietest_are_left_to_the_table() -> None:
    talks = [talk(f"a{number}", "hub", 1000 - number) for number in range(400)]
    drawn = circle.draw(talks, {})
    assert drawn.drawing.count("<circle ") == circle.DRAWN
    assert (drawn.agents_left_out, drawn.pairs_left_out) == (401 - circle.DRAWN, 400 - circle.DRAWN + 1)
    assert "a399" not in drawn.drawing
    assert ">a399<" in circle.draw(talks, {}, chosen="a399").drawing


@pytest.mark.parametrize("count", [2, 3, 14, 15, 60])
def test_everything_is_inside_the_picture(count: int) -> None:
    names = [f"machine-{number}-codex-project-{number:08x}" for number in range(count)]
    drawing = circle.draw([talk(names[at - 1], names[at]) for at in range(count)], {}).drawing
    _, _, width, height = map(float, re.findall(r'viewBox="([^"]+)"', drawing)[0].split())
    assert all(0 < x < width for x in numbers(drawing, "cx"))
    assert all(0 < y < height for y in numbers(drawing, "cy"))
    assert len(set(zip(numbers(drawing, "cx"), numbers(drawing, "cy"), strict=True))) == count


def test_an_agent_keeps_its_place_whoever_talks_more() -> None:
    names = ["a", "b", "c", "d"]
    once = circle.draw([talk(a, b) for a in names for b in names if a != b], {})
    again = circle.draw([talk(a, b, 9 if a == "c" else 1) for a in names for b in names if a != b], {})
    assert numbers(once.drawing, "cx") == numbers(again.drawing, "cx")


def test_columns_are_as_high_as_what_was_counted() -> None:
    spans = [None, Span(NOW - MINUTE, sends=50), Span(NOW, sends=100)]
    plot = plots.counted(spans, lambda span: span.sends, now=NOW, unit="a minute")
    assert plot.labels == ("100", "50", "0")
    assert plot.told == "at most 100, now 100"
    assert numbers(plot.drawing, "height") == [100, 50, 100]  # what is not known, then the columns
    assert "1 min ago: 50 a minute" in plot.drawing


def test_times_stand_between_powers_of_ten() -> None:
    span = Span(NOW)
    for ms in [*range(110, 800, 10), 9000]:
        span.in_context.add(ms)
    plot = plots.timed([span], lambda each: each.in_context, now=NOW)
    assert plot is not None
    assert plot.labels == ("1 s", "100 ms")
    assert plot.told.startswith("half within 4")
    assert plots.timed([Span(NOW), None], lambda each: each.in_context, now=NOW) is None


def test_the_table_says_what_the_plots_show_newest_first() -> None:
    quiet, busy = Span(NOW - 15 * MINUTE), Span(NOW, sends=30, polls=4, rungs=Counter({Rung.DEAD: 2}))
    busy.requests.add(2.0)
    newest, older = plots.rows([None, quiet, busy], 15)
    assert (newest.sends, newest.requests, newest.polls) == ("2", "2 ms / 2 ms", "4")
    assert (older.sends, older.in_context) == ("0", "-")
    (*_, dead) = plots.rungs([quiet, busy], now=NOW)
    assert dead[:2] == ("dead", "2")


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0.42, "0.42 ms"),
        (3.3, "3.3 ms"),
        (345, "340 ms"),
        (1234, "1.2 s"),
        (12_600, "13 s"),
        (90_000, "1 min 30 s"),
    ],
)
def test_a_duration_has_no_more_digits_than_mean_something(ms: float, said: str) -> None:
    assert plots.duration(ms) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (-5, "over"),
        (0, "over"),
        (1, "1 s"),
        (59_000, "59 s"),
        (250_000, "4 min 10 s"),
        (7_200_000, "2 h"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_time_that_is_left(ms: int, said: str) -> None:
    assert words.left(NOW + ms, NOW) == said
