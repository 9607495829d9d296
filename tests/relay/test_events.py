"""The event stream: what happened, once, in order, with every hole named."""

from support.relay import Room
from support.sse import follow

from trio_relay.core.wire import AgentRegistration, SendRequest


async def test_a_message_is_told_with_its_text(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="b"))
    async with follow(room.app) as stream:
        first = await stream.block()
        assert (first.kind, first.id, first.retry) == (None, 1, 1000)
        sent = await room.relay.send(SendRequest(sender="a", to="b", body="hello\n\nevent: fake"))
        event = await stream.event()
    assert (event.kind, event.id) == ("message.new", 2)
    message = (await room.http("GET", f"/api/messages/{sent.id}")).json()
    assert event.data == message | {"messageId": sent.id, "at": message["createdAt"]}
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["x-accel-buffering"] == "no"
