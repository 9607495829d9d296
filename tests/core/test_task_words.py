"""Pure decisions about tasks and callbacks: transitions, pauses, signatures, rates."""

import hashlib
import hmac
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.core.callbacks import MAX_ATTEMPTS, pause_after, signed_headers
from trio_relay.core.rates import SlidingWindow
from trio_relay.core.tasks import ACTIVE, ENDED, HELD, TaskStatus, may_follow

OPEN, CLAIMED = TaskStatus.OPEN, TaskStatus.CLAIMED


def test_the_end_is_the_end() -> None:
    for ended, wanted in itertools.product(ENDED, TaskStatus):
        assert may_follow(ended, wanted) is (ended is wanted)


def test_every_active_task_can_end_and_every_held_one_be_given_back() -> None:
    for current, wanted in itertools.product(ACTIVE, ENDED):
        assert may_follow(current, wanted)
    for current in HELD:
        assert may_follow(current, OPEN)


def test_work_begins_with_a_claim() -> None:
    assert {wanted for wanted in ACTIVE if may_follow(OPEN, wanted)} == {OPEN, CLAIMED}
    assert not may_follow(TaskStatus.IN_PROGRESS, CLAIMED)
    assert may_follow(TaskStatus.BLOCKED, TaskStatus.IN_PROGRESS)


@given(st.floats(0, 1, exclude_max=True))
def test_ten_attempts_take_about_a_day(chance: float) -> None:
    pauses = [pause_after(attempt, lambda: chance) for attempt in range(1, MAX_ATTEMPTS)]
    known = [pause for pause in pauses if pause is not None]
    assert len(known) == MAX_ATTEMPTS - 1
    assert known == sorted(known)
    assert 13 * 3_600_000 < sum(known) < 28 * 3_600_000
    assert pause_after(MAX_ATTEMPTS, lambda: chance) is None


def test_the_signature_covers_time_and_body() -> None:
    headers = signed_headers("s", delivery="d", timestamp=5, body=b"{}")
    expected = hmac.new(b"s", b"5.{}", hashlib.sha256).hexdigest()
    assert headers == {
        "X-Trio-Relay-Delivery": "d",
        "X-Trio-Relay-Timestamp": "5",
        "X-Trio-Relay-Signature": f"sha256={expected}",
    }


@given(st.integers(1, 5), st.lists(st.integers(0, 30), max_size=60))
def test_no_window_holds_more_than_the_limit(limit: int, pauses: list[int]) -> None:
    window = SlidingWindow(limit, 60.0)
    taken: list[float] = []
    now = 0
    for pause in pauses:
        now += pause
        wait = window.take(now)
        if wait == 0:
            taken.append(now)
        else:
            assert 0 < wait <= 60
            assert taken[-limit] + 60.0 - now == wait
    for first, last in zip(taken, taken[limit:], strict=False):
        assert last - first >= 60


@pytest.mark.parametrize("early", [0.0, 59.0])
def test_a_refused_event_does_not_count(early: float) -> None:
    window = SlidingWindow(1, 60.0)
    assert window.take(0.0) == 0
    assert window.take(early) == 60.0 - early
    assert window.take(60.0) == 0
