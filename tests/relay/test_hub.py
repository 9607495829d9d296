"""The doorbells of long polls."""

import pytest

from trio_relay.relay.hub import Hub


def test_a_ring_reaches_everyone_who_waits_for_that_agent_and_nobody_else() -> None:
    hub = Hub()
    with hub.listening("bob") as one, hub.listening("bob") as two, hub.listening("cat") as other:
        hub.ring({"bob", "nobody"})
        assert one.is_set()
        assert two.is_set()
        assert not other.is_set()


def test_a_bell_rings_once_and_the_next_is_a_new_one() -> None:
    hub = Hub()
    hub.ring({"bob"})  # nobody waits: nothing is kept, whoever comes looks first
    with hub.listening("bob") as bell:
        assert not bell.is_set()
        hub.ring({"bob"})
        hub.ring({"bob"})
        assert bell.is_set()
    with hub.listening("bob") as next_bell:
        assert not next_bell.is_set()


def test_bells_are_taken_down_also_when_the_waiter_fails() -> None:
    hub = Hub()

    def fail() -> None:
        with hub.listening("bob"):
            assert hub.waiting == 2
            raise ZeroDivisionError

    with hub.listening("bob"):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert hub.waiting == 1
    assert hub.waiting == 0


def test_closing_wakes_everybody_now_and_from_now_on() -> None:
    hub = Hub()
    with hub.listening("bob") as before:
        hub.close()
        assert before.is_set()
    with hub.listening("cat") as after:
        assert after.is_set()
