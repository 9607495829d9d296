"""What tests do with pairs, in few words."""

from typing import Any

import httpx2

from support.relay import Room
from support.talk import join


async def invite(room: Room, sender: str, target: str, **fields: Any) -> httpx2.Response:
    """Ask for a pair."""
    return await room.http("POST", "/api/pairs", json={"from": sender, "target": target} | fields)


async def answer(room: Room, pair_id: int, word: str, agent_id: str, **fields: Any) -> httpx2.Response:
    """Accept, reject or hang up."""
    return await room.http("POST", f"/api/pairs/{pair_id}/{word}", json={"agentId": agent_id} | fields)


async def pair_of(room: Room, pair_id: int) -> dict[str, Any]:
    """The pair as it stands."""
    shown: dict[str, Any] = (await room.http("GET", f"/api/pairs/{pair_id}")).json()
    return shown


async def paired(room: Room, one: str = "ann", other: str = "bob") -> int:
    """Two agents that are an active pair; answers its id."""
    await join(room, one)
    await join(room, other)
    pair_id: int = (await invite(room, one, other)).json()["id"]
    assert (await answer(room, pair_id, "accept", other)).json()["status"] == "active"
    return pair_id


async def news(room: Room, agent_id: str) -> list[tuple[str, str, Any]]:
    """What stands in an inbox: who sent it, its type, the pair it speaks of."""
    return [(each.sender, each.type, each.meta.get("pairId")) for each in await room.relay.inbox(agent_id)]
