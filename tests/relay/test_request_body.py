"""The body of a request is bounded while it arrives, whichever way the installed Quart hands it in."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from werkzeug.exceptions import RequestEntityTooLarge

from trio_relay.relay.web.request import RequestBody

Give = Callable[[RequestBody, bytes], Awaitable[None]]


async def give_022(body: RequestBody, data: bytes) -> None:
    body.append(data)


async def give_023(body: RequestBody, data: bytes) -> None:
    await body.put(data)


give_both_ways = pytest.mark.parametrize("give", [give_022, give_023], ids=["quart 0.22", "quart 0.23"])


@give_both_ways
async def test_it_is_what_came_in_pieces_once_the_end_has_come(give: Give) -> None:
    body = RequestBody(None, 6)
    await give(body, b"abc")
    await give(body, b"")
    await give(body, b"def")
    with trio.move_on_after(0):
        await body
        pytest.fail("there may be more")
    body.set_complete()
    assert await body == b"abcdef"
    assert await body == b"abcdef"
    body.clear()
    assert await body == b""


@give_both_ways
async def test_the_first_piece_over_the_limit_refuses_it_and_more_is_not_kept(give: Give) -> None:
    body = RequestBody(None, 6)
    refused = trio.Event()

    async def take() -> None:
        with pytest.raises(RequestEntityTooLarge):
            await body
        refused.set()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await give(body, b"abcdef")
            await wait_all_tasks_blocked()
            assert not refused.is_set()
            await give(body, b"g")
            await refused.wait()
    await give(body, b"abc")
    body.set_complete()
    with pytest.raises(RequestEntityTooLarge):
        await body
    assert not body._data


@give_both_ways
async def test_one_that_announces_too_much_is_refused_before_it_comes(give: Give) -> None:
    body = RequestBody(7, 6)
    with pytest.raises(RequestEntityTooLarge):
        await body
    await give(body, b"abcdefg")
    assert not body._data


async def test_without_a_limit_it_is_as_long_as_it_is() -> None:
    body = RequestBody(2_000_000, None)
    body.append(bytes(2_000_000))
    body.set_complete()
    assert await body == bytes(2_000_000)
