"""The queue of events between a connection and the app."""

from typing import Any

import pytest
import trio

from trio_relay.relay.serving.app_tasks import AppInbox, describe

PIECE: Any = {"type": "http.request", "body": b"x", "more_body": True}
GONE: Any = {"type": "http.disconnect"}


async def test_the_disconnect_comes_last_and_as_often_as_it_is_asked_for() -> None:
    inbox = AppInbox(2)
    await inbox.put(PIECE)
    await inbox.put(GONE)
    await inbox.put(PIECE)
    assert [await inbox.receive() for _ in range(3)] == [PIECE, GONE, GONE]


async def test_the_disconnect_is_taken_even_when_the_queue_is_full() -> None:
    inbox = AppInbox(1)
    await inbox.put(PIECE)
    await inbox.put(GONE)
    assert [await inbox.receive(), await inbox.receive()] == [PIECE, GONE]


async def test_telling_of_the_disconnect_lets_no_other_task_run() -> None:
    # Otherwise the app ends the task that is just making the connection ready for the next request.
    ran: list[str] = []
    inbox = AppInbox(1)

    async def other() -> None:
        ran.append("other")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await inbox.put(GONE)
        assert ran == []


async def test_a_full_queue_makes_the_sender_wait(autojump_clock: Any) -> None:
    inbox = AppInbox(1)
    await inbox.put(PIECE)
    with trio.move_on_after(1) as waited:
        await inbox.put(PIECE)
    assert waited.cancelled_caught


@pytest.mark.parametrize("end", ["app ends", "peer is gone"])
async def test_whoever_waits_to_put_more_is_let_go(autojump_clock: Any, end: str) -> None:
    inbox = AppInbox(1)
    await inbox.put(PIECE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.put, PIECE)
        await trio.testing.wait_all_tasks_blocked()
        if end == "app ends":
            inbox.close()
        else:
            await inbox.put(GONE)


async def test_an_app_that_ignores_the_disconnect_can_still_be_cancelled(autojump_clock: Any) -> None:
    inbox = AppInbox(1)
    await inbox.put(GONE)
    with trio.CancelScope() as scope:
        while True:
            assert await inbox.receive() == GONE
            scope.cancel()
    assert scope.cancelled_caught


def test_an_error_is_described_without_its_text() -> None:
    secret = b"\xffsecret"
    errors: list[Exception] = []
    try:
        secret.decode("ascii")
    except UnicodeDecodeError as error:
        errors.append(error)
    try:
        int(secret)
    except ValueError as error:
        errors.append(error)
    text = describe(ExceptionGroup("several", errors))
    assert text.count("test_serving_app_inbox.py:") == 2
    assert "UnicodeDecodeError" in text
    assert "ValueError" in text
    assert "secret" not in text
