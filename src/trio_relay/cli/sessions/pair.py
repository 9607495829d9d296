"""``trio-relay pair`` and ``disconnect``: two sessions that work together."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click

from trio_relay.cli.shared.calling import call_relay, json_option, relay_option
from trio_relay.cli.shared.failures import REFUSED, Failure
from trio_relay.cli.shared.params import ID
from trio_relay.cli.shared.session import agent_option, own_agent
from trio_relay.cli.shared.terminal import echo_json, printable, printable_text, spoken
from trio_relay.cli.shared.waiting import accepted
from trio_relay.client import pairs
from trio_relay.client.http import RelayClient
from trio_relay.core.model import Verdict
from trio_relay.core.wire import SentMessage
from trio_relay.core.wire_pairs import InvitedPair, Pair, PairAnswer, PairInvite, PairMessage, PairStatus
from trio_relay.mcp.speaker import Speaker

_LIVE = (PairStatus.PENDING, PairStatus.ACTIVE)
_LISTENS = {
    Verdict.LIVE_IDLE: "it is there",
    Verdict.LIVE_BUSY: "it is there, and busy",
    Verdict.DEAF: "it is registered, but hears nothing now",
    Verdict.OFFLINE_QUEUED: "it is offline: the invitation waits",
}

Answer = Pair | InvitedPair | SentMessage | list[Pair]


@click.command()
@click.argument(
    "words", nargs=-1, metavar="TARGET [OBJECTIVE] | status | accept [ID] | reject [ID] | send [ID] TEXT"
)
@agent_option
@json_option
@relay_option
def pair(*, words: tuple[str, ...], agent: str | None, as_json: bool, relay_url: str | None) -> None:
    """Work with one other session, and nobody else in between.

    TARGET is an agent id, a label, a tag or a provider such as codex; among several, one that is free is invited. An
    agent is in one pair at a time, so ID (of `status`) may be left out. Texts need not be quoted.
    """
    verb, rest = (words[0], words[1:]) if words else ("status", ())
    work = _VERBS.get(verb)
    if work is None:
        work, rest = _invite, words

    async def call(relay: RelayClient) -> Answer:
        return await work(relay, await own_agent(relay, agent), rest)

    _show(call_relay(relay_url, call), as_json=as_json)


@click.command()
@click.argument("pair_id", type=ID, metavar="[ID]", required=False)
@agent_option
@json_option
@relay_option
def disconnect(*, pair_id: int | None, agent: str | None, as_json: bool, relay_url: str | None) -> None:
    """End the pair this session is in, or take an invitation back."""

    async def call(relay: RelayClient) -> Answer:
        me = await own_agent(relay, agent)
        found = pair_id or (await _only(relay, me, "in a pair", _LIVE)).id
        return await pairs.hang_up(relay, found, _as(me))

    _show(call_relay(relay_url, call), as_json=as_json)


async def _invite(relay: RelayClient, me: Speaker, words: Sequence[str]) -> Answer:
    request = PairInvite(
        sender=me.agent_id, target=words[0], objective=" ".join(words[1:]) or None, **_session(me)
    )
    return await pairs.invite(relay, request)


async def _status(relay: RelayClient, me: Speaker, words: Sequence[str]) -> Answer:
    _no_more(words)
    return [each for each in await pairs.pairs_of(relay, me.agent_id) if each.status in _LIVE]


async def _accept(relay: RelayClient, me: Speaker, words: Sequence[str]) -> Answer:
    return await pairs.accept(relay, await _invited(relay, me, words), _as(me))


async def _reject(relay: RelayClient, me: Speaker, words: Sequence[str]) -> Answer:
    return await pairs.reject(relay, await _invited(relay, me, words), _as(me))


async def _send(relay: RelayClient, me: Speaker, words: Sequence[str]) -> Answer:
    if words and words[0].isdecimal() and len(words) > 1:
        pair_id, words = int(words[0]), words[1:]
    elif words:
        pair_id = (await _only(relay, me, "in an active pair", (PairStatus.ACTIVE,))).id
    else:
        raise click.UsageError("what is to be sent?")
    message = PairMessage(sender=me.agent_id, body=spoken(tuple(words)), **_session(me))
    return await pairs.write(relay, pair_id, message)


_VERBS: dict[str, Callable[[RelayClient, Speaker, Sequence[str]], Awaitable[Answer]]] = {
    "status": _status,
    "accept": _accept,
    "reject": _reject,
    "send": _send,
}


async def _invited(relay: RelayClient, me: Speaker, words: Sequence[str]) -> int:
    _no_more(words[1:])
    if not words:
        return (await _only(relay, me, "invited to a pair", (PairStatus.PENDING,), invited=True)).id
    if not words[0].isdecimal():
        raise click.UsageError(f"{words[0]!r} is not the number of a pair")
    return int(words[0])


async def _only(
    relay: RelayClient, me: Speaker, what: str, states: Sequence[PairStatus], *, invited: bool = False
) -> Pair:
    """Find the pair that is meant when no number was given: an agent is in one at a time."""
    for each in await pairs.pairs_of(relay, me.agent_id):
        if each.status in states and not (invited and each.invitee != me.agent_id):
            return each
    raise Failure(f"{me.agent_id} is not {what}", REFUSED)


def _no_more(words: Sequence[str]) -> None:
    if words:
        raise click.UsageError(f"{words[0]!r} is one word too many")


def _session(me: Speaker) -> dict[str, Any]:
    return {"instance_id": me.session.instance_id, "epoch": me.session.epoch}


def _as(me: Speaker) -> PairAnswer:
    return PairAnswer(agent_id=me.agent_id, **_session(me))


def _show(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        echo_json(answer)
    elif isinstance(answer, SentMessage):
        click.echo(accepted(answer))
    elif isinstance(answer, list):
        click.echo("\n".join(_text(each) for each in answer) or "In no pair.")
    else:
        heard = f"; {_LISTENS[answer.verdict]}" if isinstance(answer, InvitedPair) else ""
        click.echo(_text(answer) + heard)


def _text(each: Pair) -> str:
    """Write a pair in a line."""
    ended = f" ({printable(each.end_reason)})" if each.end_reason else ""
    objective = f": {printable(printable_text(each.objective))}" if each.objective else ""
    return f"Pair {each.id}, {printable(each.inviter)} with {printable(each.invitee)}, {each.status}{ended}{objective}"
