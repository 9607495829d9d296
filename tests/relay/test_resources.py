"""Leases on named resources: whoever holds what, nobody else holds anything that collides with it."""

from typing import Any

import trio

from support.relay import Room
from trio_relay.core.wire import AgentRegistration


async def take(room: Room, holder: str, key: str, **more: Any) -> tuple[int, dict[str, Any]]:
    answer = await room.http("POST", "/api/leases", json={"holder": holder, "key": key, **more})
    return answer.status_code, answer.json()


async def change(room: Room, verb: str, lease: dict[str, Any], **more: Any) -> tuple[int, dict[str, Any]]:
    body = {"holder": lease["holder"], "key": lease["key"], "leaseToken": lease["leaseToken"], **more}
    answer = await room.http("POST", f"/api/leases/{verb}", json=body)
    return answer.status_code, answer.json()


async def test_what_collides_is_refused_and_says_who_holds_it(room: Room) -> None:
    status, held = await take(room, "ann", "file:src/api/**")
    assert status == 201
    status, problem = await take(room, "bob", "file:src/api/x.py")
    assert (status, problem["code"]) == (409, "held")
    assert "'ann'" in problem["detail"]
    assert (await take(room, "bob", "file:src/web/x.py"))[0] == 201
    assert (await take(room, "ann", "file:src/api/x.py"))[0] == 201, "one holder may hold both"
    listed = (await room.http("GET", "/api/leases?key=file:src/api/y.py")).json()
    assert [each["key"] for each in listed] == [held["key"]]
    assert "leaseToken" not in listed[0] or listed[0]["leaseToken"] is None


async def test_it_is_free_again_when_its_time_is_over_and_the_old_token_is_worthless(room: Room) -> None:
    _, old = await take(room, "ann", "port:5432", ttlMs=10_000)
    await trio.sleep(9.999)
    assert (await take(room, "bob", "port:5432"))[0] == 409
    await trio.sleep(0.001)
    status, new = await take(room, "bob", "port:5432")
    assert (status, new["leaseEpoch"]) == (201, old["leaseEpoch"] + 1)
    for verb in ("renew", "release", "complete"):
        status, problem = await change(room, verb, old)
        assert (status, problem["code"]) == (409, "lease_lost")
    assert (await change(room, "renew", new))[0] == 200


async def test_asking_again_is_safe_and_keeps_it(room: Room) -> None:
    _, first = await take(room, "ann", "migration", ttlMs=10_000)
    await trio.sleep(5)
    _, again = await take(room, "ann", "migration", ttlMs=10_000)
    assert (again["leaseToken"], again["leaseEpoch"]) == (first["leaseToken"], first["leaseEpoch"])
    assert again["expiresAt"] == first["expiresAt"] + 5_000


async def test_given_back_or_completed_it_is_free_at_once(room: Room) -> None:
    for verb in ("release", "complete"):
        _, lease = await take(room, "ann", "migration")
        assert (await change(room, verb, lease))[0] == 200
        status, _ = await take(room, "bob", "migration")
        assert status == 201
        await change(room, "release", (await take(room, "bob", "migration"))[1])


async def test_it_is_free_at_once_when_its_holder_goes_offline(room: Room) -> None:
    await room.relay.register(AgentRegistration(id="ann", instance_id="one"))
    await take(room, "ann", "migration")
    await room.http("PATCH", "/api/agents/ann/status", json={"status": "offline"})
    assert (await take(room, "bob", "migration"))[0] == 201


async def test_a_name_of_the_relays_own_is_refused(room: Room) -> None:
    status, problem = await take(room, "ann", "message:1")
    assert (status, problem["errors"][0]["path"]) == (400, "key")
