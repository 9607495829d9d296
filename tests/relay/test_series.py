"""What happened when: by the minute, in memory, at a bounded cost."""

import pytest
import trio

from support.relay import EPOCH, Room
from trio_relay.core.model import Rung
from trio_relay.core.wire import AgentRegistration, SendRequest
from trio_relay.relay.series import MINUTE, MINUTES, QUARTER, QUARTERS, Series, Spread


class Clock:
    def __init__(self) -> None:
        self.now = EPOCH

    def __call__(self) -> int:
        return self.now


@pytest.mark.parametrize("ms", [0.5, 1.0, 7.0, 340.0, 86_400_000.0])
def test_what_is_read_of_one_duration_is_at_most_a_tenth_off(ms: float) -> None:
    spread = Spread()
    spread.add(ms)
    assert spread.below(0.5) == pytest.approx(ms, rel=0.1)


def test_percentiles_are_those_of_what_was_added() -> None:
    spread = Spread()
    for ms in range(1, 1001):
        spread.add(ms)
    assert spread.below(0.5) == pytest.approx(500, rel=0.1)
    assert spread.below(0.95) == pytest.approx(950, rel=0.1)
    assert Spread().below(0.5) is None


def test_no_time_at_all_is_a_duration_too() -> None:
    spread = Spread()
    spread.add(0)
    assert spread.below(0.95) == pytest.approx(0.01, rel=0.1)


def test_each_minute_holds_what_happened_in_it() -> None:
    clock = Clock()
    series = Series(clock)
    series.add({("event", "message.new"): 3, ("rung", "queued"): 4, ("send", "deaf"): 1})
    clock.now += 2 * MINUTE
    series.add({("event", "message.new"): 1}, [(Rung.IN_CONTEXT, 200), (Rung.ANSWERED, 9000)])
    series.answered(0.004)
    series.polling(7)
    series.polling(5)
    spans = [span for span in series.hour() if span is not None]
    assert [span.sends for span in spans] == [3, 0, 1]
    assert dict(spans[0].rungs) == {"queued": 4}
    assert [spans[2].in_context.count, spans[2].answered.count, spans[2].requests.count] == [1, 1, 1]
    assert spans[2].answered.below(0.95) == pytest.approx(9000, rel=0.1)
    assert [span.polls for span in spans] == [0, 0, 7]


def test_before_the_relay_began_nothing_is_known() -> None:
    series = Series(Clock())
    assert [span is None for span in series.hour()] == [True] * (MINUTES - 1) + [False]
    assert [span is None for span in series.day()] == [True] * (QUARTERS - 1) + [False]


def test_the_quarters_of_a_day_hold_what_their_minutes_held() -> None:
    clock = Clock()
    series = Series(clock)
    for minute in range(40):
        clock.now = EPOCH + minute * MINUTE
        series.add({("event", "message.new"): 2}, [(Rung.IN_CONTEXT, 100)])
        series.polling(minute)
    quarters = [span for span in series.day() if span is not None]
    assert [span.at for span in quarters] == [EPOCH + number * QUARTER * MINUTE for number in range(3)]
    assert [span.sends for span in quarters] == [30, 30, 20]  # the present minute too
    assert [span.in_context.count for span in quarters] == [15, 15, 10]
    assert [span.polls for span in quarters] == [14, 29, 39]
    assert series.day() == series.day()  # looking changes nothing
    clock.now += MINUTE
    series.polling(0)
    assert [span.sends for span in series.day() if span is not None] == [30, 30, 20]


def test_what_is_old_is_forgotten() -> None:
    clock = Clock()
    series = Series(clock)
    for _ in range(3 * QUARTER * QUARTERS):
        series.polling(1)
        clock.now += MINUTE
    assert (len(series._minutes), len(series._quarters)) == (MINUTES, QUARTERS)
    assert series.hour()[0] is not None
    assert series.day()[0] is not None


def test_a_clock_that_is_set_back_counts_nothing_twice() -> None:
    clock = Clock()
    series = Series(clock)
    for minute in (0, 10, 5, 10, 20):
        clock.now = EPOCH + minute * MINUTE
        series.add({("event", "message.new"): 1})
    assert [span.sends for span in series.day() if span is not None] == [4, 1]


async def test_a_message_is_timed_from_its_acceptance(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="b", ready=True))
    sent = await room.relay.send(SendRequest(sender="a", to="b", body="x"))
    await trio.sleep(2)
    for _ in range(2):
        await room.relay.report(sent.id, "b", Rung.IN_CONTEXT, {})
    await trio.sleep(3)
    await room.relay.send(SendRequest(sender="b", to="a", body="y", reply_to=sent.id, allow_unknown=True))
    span = room.service.metrics.series.hour()[-1]
    assert span is not None
    assert span.sends == 2
    assert span.rungs["in_context"] == 1
    assert span.in_context.count == 1
    assert span.in_context.below(0.5) == pytest.approx(2000, rel=0.1)
    assert span.answered.below(0.5) == pytest.approx(5000, rel=0.1)
    assert span.requests.count >= 5


async def test_a_poll_that_waits_is_no_slow_request(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="b", ready=True))
    await room.http("GET", "/api/messages?for=b&unread=true&wait=30")
    span = room.service.metrics.series.hour()[-1]
    assert span is not None
    assert (span.polls, span.requests.count) == (1, 1)
