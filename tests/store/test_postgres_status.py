"""Two calls of one agent at once: whoever follows it hears of the one that counts, on PostgreSQL too."""

from collections.abc import Callable
from typing import Any

import pytest

from support.two_writers import writers
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import AgentRegistration, ReadyChange, StatusChange
from trio_relay.relay.operations import agents, event_log


@pytest.mark.parametrize(
    ("operation", "change", "back"),
    [
        (agents.set_status, StatusChange(status=AgentStatus.BUSY), StatusChange(status=AgentStatus.ONLINE)),
        (agents.set_ready, ReadyChange(ready=False, reason="rests"), ReadyChange(ready=True)),
    ],
    ids=["status", "ready"],
)
def test_what_is_said_again_after_something_else_is_news(
    room_url: str, operation: Callable[..., Any], change: object, back: object
) -> None:
    """The second says what was so before both, which is news only because the first came in between."""
    with writers(room_url) as (reader, (one, other)):
        one.try_to(agents.register, AgentRegistration(id="bob", ready=True), alone=True).result()
        start = reader.do(event_log.state).horizon
        one.begin().do(operation, "bob", change)
        second = other.try_to(operation, "bob", back)
        one.commit()
        bob = second.result()
        assert (bob.status, bob.ready) == (AgentStatus.ONLINE, True)
        assert len(reader.do(event_log.page, start).events) == 2
