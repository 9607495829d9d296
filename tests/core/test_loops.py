"""When a conversation between programs is a loop."""

from hypothesis import given
from hypothesis import strategies as st

from trio_relay.core.loops import Limits, repeated_round, verdict

LIMITS = Limits(hops=10, cycles=3, rate=5)


def test_a_thread_may_be_as_deep_as_allowed_and_no_deeper() -> None:
    path = [f"agent-{number}" for number in range(12)]
    assert verdict(LIMITS, hop=10, path=path[:11], in_last_minute=0) is None
    assert verdict(LIMITS, hop=11, path=path, in_last_minute=0) == "more than 10 answers without a person"


def test_a_thread_that_runs_too_fast_is_a_loop() -> None:
    assert verdict(LIMITS, hop=1, path=["a", "b"], in_last_minute=4) is None
    assert verdict(LIMITS, hop=1, path=["a", "b"], in_last_minute=5) == "more than 5 messages in a minute"


def test_cycles_of_any_number_of_speakers_are_seen() -> None:
    assert repeated_round(["a", "b"] * 3, 3) == 2
    assert repeated_round(["x", *["a", "b", "c"] * 3], 3) == 3
    assert repeated_round(["a", "b"] * 2, 3) is None
    assert repeated_round(["a", "b", "a", "c", "a", "b"], 3) is None


def test_one_who_speaks_alone_goes_round_nobody() -> None:
    assert repeated_round(["a"] * 20, 3) is None


def test_what_was_said_before_a_person_spoke_does_not_count() -> None:
    path = ["a", "b"] * 5
    assert verdict(LIMITS, hop=9, path=path, in_last_minute=0) is not None
    assert verdict(LIMITS, hop=2, path=path, in_last_minute=0) is None


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(2, 5))
def test_a_round_is_found_only_where_it_is(path: list[str], times: int) -> None:
    length = repeated_round(path, times)
    if length is not None:
        tail = path[-length * times :]
        assert tail == tail[:length] * times
        assert len(set(tail)) > 1
