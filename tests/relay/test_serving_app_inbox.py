"""The queue of events between a connection and the app."""

from typing import Any

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


async def test_whoever_waits_to_put_more_is_let_go_by_the_disconnect(autojump_clock: Any) -> None:
    inbox = AppInbox(1)
    await inbox.put(PIECE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.put, PIECE)
        await trio.testing.wait_all_tasks_blocked()
        await inbox.put(GONE)


async def test_an_app_that_ignores_the_disconnect_lets_other_tasks_run() -> None:
    inbox = AppInbox(1)
    await inbox.put(GONE)
    ran = trio.Event()

    async def other() -> None:
        ran.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(3):
            assert await inbox.receive() == GONE
        assert ran.is_set()


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
