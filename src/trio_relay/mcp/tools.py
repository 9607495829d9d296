"""What each tool does: calls of the relay's API, and an answer a model can read.

What others wrote stands inside a fence, as in a delivered message; everything else is one line of JSON, in which their
names and labels are shown with every character visible.
"""

import hashlib
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from trio_relay.client.http import RelayClient
from trio_relay.core.model import AgentStatus
from trio_relay.core.prompts import envelope, fenced, plain
from trio_relay.core.tasks import ENDED
from trio_relay.core.wire import Agent, InboxMessage, Message, SendRequest, SentMessage
from trio_relay.core.wire_pairs import Pair, PairAnswer, PairInvite, PairMessage
from trio_relay.core.wire_tasks import Task, TaskStatusChange
from trio_relay.errors import FieldError, Invalid, RelayError
from trio_relay.mcp import toolbox
from trio_relay.mcp.speaker import Origin, Speaker, speaker_of

#: Characters of a body in one answer. Codex shows a model a few thousand words of a tool's output.
PAGE = 16_000
#: Characters of each body where several messages are shown.
EXCERPT = 400
#: Messages or agents in one answer, at most.
LISTED = 40
#: A claim made by a tool has no program that renews it: it lasts this long, ms.
CLAIM_TTL = 15 * 60_000

log = structlog.get_logger("trio_relay.mcp")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool says, and whether it says that it failed."""

    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools over one connection to a relay. `nonce` answers a fresh word for a fence."""

    relay: RelayClient
    nonce: Callable[[], str]

    async def call(self, name: str, given: dict[str, Any] | None, origin: Origin) -> Answer:
        """Do what a call asks. What is refused is told to the model: a code, a sentence, what was expected."""
        try:
            arguments = toolbox.arguments_of(name, given)
            work: Callable[[Any, Origin], Awaitable[str]] = getattr(self, f"_{name}")
            return Answer(await work(arguments, origin))
        except RelayError as error:
            expected = "".join(f"; {field.path}: {field.message}" for field in error.fields)
            return Answer(_visible(f"{error.code}: {error.detail}{expected}"), failed=True)
        except Exception as error:  # noqa: BLE001  # the SDK would swallow it: it shall be in our log
            # Frames only: the text of a foreign exception could hold a message body.
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("tool failed", tool=name, kind=type(error).__name__, frames=frames)  # noqa: TRY400
            return Answer("internal_error: this is a mistake of the relay; it is in its log", failed=True)

    async def _send_message(self, ask: toolbox.SendMessage, origin: Origin) -> str:
        speaker = await speaker_of(self.relay, origin)
        meta = {} if ask.delivery is UNSET else {"delivery": ask.delivery}
        request = SendRequest(
            sender=speaker.agent_id,
            to=ask.to,
            body=ask.body,
            subject=_given(ask.subject),
            channel=_given(ask.channel),
            claimable=ask.claimable is True,
            meta=meta,
            # The same words in the same turn are one message: a call repeated after a time-out adds nothing.
            idempotency_key=_key("send", origin.turn, ask) if origin.turn is not None else None,
        )
        return _sent(await self.relay.send(request))

    async def _reply(self, ask: toolbox.Reply, origin: Origin) -> str:
        speaker = await speaker_of(self.relay, origin)
        message = await self.relay.message(ask.message_id)
        if message.sender == speaker.agent_id:
            raise Invalid(
                f"message {message.id} is your own", fields=(FieldError("message_id", "expected another's"),)
            )
        request = SendRequest(
            sender=speaker.agent_id,
            to=message.sender,
            body=ask.body,
            reply_to=message.id,
            type="ack" if ask.ack is True else "reply",
            idempotency_key=_key("reply", "", ask),
            allow_unknown=True,
        )
        return _sent(await self.relay.send(request))

    async def _read_message(self, ask: toolbox.ReadMessage, origin: Origin) -> str:
        if ask.message_id is UNSET:
            speaker = await speaker_of(self.relay, origin)
            waiting = await self.relay.inbox(speaker.agent_id, limit=LISTED)
            return self._excerpts(waiting, speaker.agent_id, "Nothing waits in your inbox.")
        reader = await self._reader(origin)
        if ask.thread is True:
            told = await self.relay.thread(ask.message_id)
            return self._excerpts(told[-LISTED:], reader.agent_id if reader else "", "")
        message = await self.relay.message(ask.message_id)
        shown = self._page(message, ask.offset or 0, reader.agent_id if reader else "")
        if ask.done is True:
            reader = await speaker_of(self.relay, origin)
            await self.relay.mark_read(message.id, reader.agent_id, session=reader.session)
        return shown

    async def _reader(self, origin: Origin) -> Speaker | None:
        """Who reads, if that can be told: reading takes the right to see a message, not a name."""
        try:
            return await speaker_of(self.relay, origin, mailbox=False)
        except RelayError:
            return None

    def _page(self, message: Message, offset: int, reader: str) -> str:
        body, length = message.body[offset : offset + PAGE], len(message.body)
        if offset > length:
            raise Invalid(
                f"the body ends at {length}",
                fields=(FieldError("offset", f"expected at most {length}"),),
            )
        text = f"{envelope(message, reader)}\n{fenced(body, self.nonce())}"
        end = offset + len(body)
        if end < length:
            return f"{text}\ncharacters {offset} to {end} of {length}; read on with offset {end}"
        return text if not offset else f"{text}\ncharacters {offset} to {end}: the end"

    def _excerpts(self, messages: Sequence[Message | InboxMessage], reader: str, nothing: str) -> str:
        shown = []
        for message in messages:
            more = len(message.body) - EXCERPT
            rest = f"\n{more} more characters: read_message {message.id}" if more > 0 else ""
            shown.append(f"{envelope(message, reader)}\n{fenced(message.body[:EXCERPT], self.nonce())}{rest}")
        return "\n".join(shown) or nothing

    async def _list_agents(self, ask: toolbox.ListAgents, origin: Origin) -> str:
        match = ask.match or ""
        kind, _, name = match.partition(":")
        selector = kind if kind in {"tag", "cap", "label"} and name else None
        found = await self.relay.agents(**({selector: name} if selector else {}))
        found = [
            agent
            for agent in found
            if (ask.offline is True or agent.status is not AgentStatus.OFFLINE)
            and (selector is not None or match in agent.id)
        ]
        you = await self._reader(origin)
        lines = [_agent(agent, you) for agent in found[:LISTED]]
        if len(found) > LISTED:
            lines.append(f"and {len(found) - LISTED} more: narrow it with match")
        return "\n".join(lines) or "Nobody matches."

    async def _claim(self, ask: toolbox.Claim, origin: Origin) -> str:
        speaker = await speaker_of(self.relay, origin)
        held = (ask.message_id, speaker.agent_id)
        if ask.action == "claim":
            claimed = await self.relay.claim(*held, session=speaker.session, ttl_ms=CLAIM_TTL)
            return _line(claimed=claimed.id, until=claimed.claim_expires_at)
        if ask.action == "release":
            await self.relay.release(*held, None, session=speaker.session)
            return _line(released=ask.message_id)
        await self.relay.complete(*held, None, result=_given(ask.result), session=speaker.session)
        return _line(completed=ask.message_id)

    async def _update_task(self, ask: toolbox.UpdateTask, origin: Origin) -> str:
        speaker = await speaker_of(self.relay, origin)
        change = TaskStatusChange(
            status=ask.status,
            agent_id=speaker.agent_id,
            instance_id=speaker.session.instance_id,
            epoch=speaker.session.epoch,
            progress=_given(ask.progress),
            result=_given(ask.result),
        )
        task = await self.relay.call("PATCH", f"/api/tasks/{ask.task_id}/status", Task, body=change)
        if task.message_id is not None and task.claimed_by == speaker.agent_id and task.status not in ENDED:
            # A report renews the claim for as long as a program renews one, which here may be nobody.
            held = (task.message_id, speaker.agent_id)
            await self.relay.claim(*held, session=speaker.session, ttl_ms=CLAIM_TTL)
        return _line(task=task.id, status=task.status, claimedBy=task.claimed_by)

    async def _pair(self, ask: toolbox.Pair, origin: Origin) -> str:
        speaker = await speaker_of(self.relay, origin)
        if ask.action == "list":
            query = {"agent": speaker.agent_id, "limit": LISTED}
            pairs = await self.relay.call("GET", "/api/pairs", list[Pair], query=query)
            return "\n".join(_pair(pair) for pair in pairs) or "You are in no pair."
        session: dict[str, Any] = {"instance_id": speaker.session.instance_id, "epoch": speaker.session.epoch}
        if ask.action == "invite":
            invite = PairInvite(
                sender=speaker.agent_id,
                target=_needed(ask.target, "target"),
                objective=_given(ask.text),
                **session,
            )
            return _pair(await self.relay.call("POST", "/api/pairs", Pair, body=invite))
        path = f"/api/pairs/{_needed(ask.pair_id, 'pair_id')}"
        if ask.action == "send":
            said = PairMessage(sender=speaker.agent_id, body=_needed(ask.text, "text"), **session)
            return _sent(await self.relay.call("POST", f"{path}/messages", SentMessage, body=said))
        answer = PairAnswer(agent_id=speaker.agent_id, **session)
        return _pair(await self.relay.call("POST", f"{path}/{ask.action}", Pair, body=answer))


def _given(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value


def _needed(value: Any, name: str) -> Any:
    if value is UNSET:
        raise Invalid(f"{name} is missing", fields=(FieldError(name, "expected for this action"),))
    return value


def _key(kind: str, turn: str | None, ask: toolbox.Arguments) -> str:
    """Name a call by what it says, so that saying it again is the same call."""
    said = hashlib.sha256(_encode([turn, ask])).hexdigest()[:32]
    return f"mcp-{kind}:{said}"


def _line(**values: Any) -> str:
    return _visible(_encode({name: value for name, value in values.items() if value is not None}).decode())


def _visible(text: str) -> str:
    return plain(text).replace("\n", " ")


def _sent(message: SentMessage) -> str:
    reached = {each.agent_id: each.verdict for each in message.recipients[:LISTED]}
    more = len(message.recipients) - len(reached)
    waits = message.parked_reason or ("for somebody to match" if message.parked else None)
    return _line(sent=message.id, recipients=reached, more=more or None, waits=waits)


def _agent(agent: Agent, you: Speaker | None) -> str:
    return _line(
        id=agent.id,
        you=True if you is not None and you.agent_id == agent.id else None,
        label=agent.label,
        status=agent.status,
        ready=agent.ready,
        why=agent.ready_reason,
        tags=agent.tags,
        capabilities=agent.capabilities,
    )


def _pair(pair: Pair) -> str:
    objective = pair.objective and pair.objective[:EXCERPT]
    other = {"from": pair.inviter, "to": pair.invitee, "objective": objective, "ended": pair.end_reason}
    return _line(pair=pair.id, status=pair.status, **other)
