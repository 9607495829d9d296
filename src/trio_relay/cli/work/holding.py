"""Running a command while something is held: a lease on a resource, or the claim on work.

What is held is renewed while the command runs. When it is lost the command is stopped, before anybody else could hold
the same thing; when the command ends, it is given back. Signals that are meant to stop us stop the command first.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import click
import trio

from trio_relay.cli.shared.failures import FAILED, Failure
from trio_relay.cli.shared.signals import until_signal
from trio_relay.cli.shared.terminal import printable
from trio_relay.client import leases
from trio_relay.client.http import RelayClient
from trio_relay.core.wire import ClaimedMessage, ClaimRequest
from trio_relay.core.wire_rooms import Lease, LeaseChange, LeaseRequest
from trio_relay.errors import Conflict, RelayError
from trio_relay.mcp.speaker import Speaker
from trio_relay.supervise import held_lease

#: How long what is held lasts without renewal, seconds.
LASTS = 60.0
#: How often somebody else's lease is looked at, seconds.
LOOK_EVERY = 1.0
#: How long the relay may take to take it back at the end, and a command to end when it is told to, seconds.
_GOODBYE = 5.0
_PATIENCE = 10.0
#: Exit codes as a shell gives them.
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_SIGNALLED = 128


async def run_with_lease(
    relay: RelayClient,
    key: str,
    me: Speaker,
    command: Sequence[str],
    *,
    wait: float,
) -> int:
    """Run `command` while `key` is leased, and answer its exit code. Waits up to `wait` seconds for others.

    Raises:
        Failure: it is held by others, or was lost while the command ran.

    """
    lease = await _taken(relay, key, me, wait)

    def change() -> LeaseChange:
        return LeaseChange(
            key=lease.key,
            holder=me.agent_id,
            lease_token=lease.lease_token or "",
            ttl_ms=round(LASTS * 1000),
            instance_id=me.session.instance_id,
            epoch=me.session.epoch,
        )

    async def renew() -> float:
        await leases.renew(relay, change())
        return LASTS

    code = None
    try:
        code = await _run_while_held(command, renew, {"TRIO_RELAY_LEASE": lease.key})
    finally:
        with trio.move_on_after(_GOODBYE, shield=True), suppress(RelayError):
            await leases.release(relay, change())
    if code is None:
        raise Failure(f"the lease on {lease.key} was lost; the command was stopped", FAILED)
    return code


async def run_with_claim(relay: RelayClient, message_id: int, me: Speaker, command: Sequence[str]) -> int:
    """Run `command` while the message is claimed; answer its exit code. Success completes the work, failure gives it back.

    Raises:
        Failure: the claim was lost while the command ran.

    """
    claimed = await relay.claim(message_id, me.agent_id, me.session, round(LASTS * 1000))

    async def renew() -> float:
        body = ClaimRequest(
            agent_id=me.agent_id,
            lease_token=claimed.lease_token,
            ttl_ms=round(LASTS * 1000),
            instance_id=me.session.instance_id,
            epoch=me.session.epoch,
        )
        await relay.call("POST", f"/api/messages/{message_id}/claim/renew", ClaimedMessage, body=body)
        return LASTS

    code = None
    try:
        code = await _run_while_held(command, renew, {"TRIO_RELAY_MESSAGE": str(message_id)})
    finally:
        with trio.move_on_after(_GOODBYE, shield=True), suppress(RelayError):
            if code != 0:
                await relay.release(message_id, me.agent_id, claimed.lease_token, me.session)
    if code is None:
        raise Failure(f"the claim on message {message_id} was lost; the command was stopped", FAILED)
    if code == 0:
        await relay.complete(message_id, me.agent_id, claimed.lease_token, {"exitCode": code}, me.session)
    return code


async def _taken(relay: RelayClient, key: str, me: Speaker, wait: float) -> Lease:
    request = LeaseRequest(
        key=key,
        holder=me.agent_id,
        ttl_ms=round(LASTS * 1000),
        instance_id=me.session.instance_id,
        epoch=me.session.epoch,
    )
    said = False
    give_up_at = trio.current_time() + wait
    while True:
        try:
            return await leases.acquire(relay, request)
        except Conflict as held:
            if held.code != "held" or trio.current_time() >= give_up_at:
                raise
        if not said:
            holders = await leases.list_leases(relay, key=key)
            names = ", ".join(f"{printable(each.holder or '?')} ({printable(each.key)})" for each in holders)
            click.echo(f"trio-relay: waiting for {names or key}", err=True)
            said = True
        await trio.sleep(min(LOOK_EVERY, max(0.0, give_up_at - trio.current_time())))


async def _run_while_held(
    command: Sequence[str], renew: Callable[[], Awaitable[float]], tell: Mapping[str, str]
) -> int | None:
    """Run a command; its exit code as a shell gives it, None if what it needs was lost. `tell`: more environment."""
    code = None
    async with held_lease(renew, ttl=LASTS, every=LASTS / 3), until_signal() as stopped:
        code = await _run(command, tell)
    return code if stopped.exit_code is None else stopped.exit_code


async def _run(command: Sequence[str], tell: Mapping[str, str]) -> int:
    try:
        done = await trio.run_process(
            list(command),
            stdin=None,
            check=False,
            env={**os.environ, **tell},
            deliver_cancel=_stop,
        )
    except FileNotFoundError:
        raise Failure(f"no program {command[0]!r}", _NOT_FOUND) from None
    except PermissionError:
        raise Failure(f"{command[0]!r} is no program that may be run", _NOT_EXECUTABLE) from None
    return done.returncode if done.returncode >= 0 else _SIGNALLED - done.returncode


async def _stop(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(_PATIENCE):
        await process.wait()
        return
    process.kill()
