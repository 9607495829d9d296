"""What tests say in a room, in few words, and how they read what is refused."""

from typing import Any

import httpx2
import msgspec

from support.relay import Room
from trio_relay.core.wire import Agent, AgentRegistration, Problem, SendRequest, SentMessage, SessionFields


async def join(room: Room, agent_id: str, *, ready: bool = True, **fields: Any) -> Agent:
    """Register an agent, ready to take messages."""
    return await room.relay.register(AgentRegistration(id=agent_id, ready=ready, **fields))


async def say(room: Room, sender: str, to: str, body: str = "hello", **fields: Any) -> SentMessage:
    """Send a message."""
    return await room.relay.send(SendRequest(sender=sender, to=to, body=body, **fields))


def session(agent: Agent) -> SessionFields:
    """The credentials of the instance that registered `agent`."""
    return SessionFields(instance_id=agent.instance_id, epoch=agent.epoch)


def refusal(response: httpx2.Response) -> Problem:
    """The problem document of a refused request, which says the same status as the response."""
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = msgspec.json.decode(response.content, type=Problem)
    assert problem.status == response.status_code
    assert problem.error == problem.detail != ""
    return problem


def paths(problem: Problem) -> list[str]:
    """The fields a problem names."""
    return [each["path"] for each in problem.errors]
