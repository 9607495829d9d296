"""The socket of the hooks: whatever a hook does, the keeper goes on."""

import socket
from functools import partial
from pathlib import Path

import trio
import trio.testing

from trio_relay.claude.events import Answer
from trio_relay.sidecar.claude.socket_server import Told, converse, listening


async def test_a_hook_that_is_killed_before_its_answer_takes_nobody_along(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    gone, heard = trio.Event(), list[str]()

    async def answer(told: Told) -> Answer:
        with trio.CancelScope(shield=True):  # the answer is there in the moment in which the hook is gone
            await gone.wait()
        heard.append(told.event)
        return Answer(out="x")

    path = tmp_path / "socket"
    async with listening(path) as listener:
        nursery.start_soon(trio.serve_listeners, partial(converse, heard=answer), [listener])
        killed = socket.socket(socket.AF_UNIX)
        killed.connect(str(path))
        killed.sendall(b'{"event": "Stop"}\n')
        killed.close()
        await trio.testing.wait_all_tasks_blocked()
        gone.set()
        with trio.fail_after(60):
            async with await trio.open_unix_socket(str(path)) as stream:
                await stream.send_all(b'{"event": "Notification"}\n')
                assert await stream.receive_some() == b'{"out":"x"}'
        assert heard == ["Stop", "Notification"]
        nursery.cancel_scope.cancel()
