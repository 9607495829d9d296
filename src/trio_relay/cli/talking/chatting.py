"""What goes on in a chat: what arrives, what is typed, and how far that has got.

Three tasks over one conversation: `Chat.receive` shows what comes, `Chat.speak` sends what is typed, `Chat.watch`
tells how far each line has got. Where lines come from and where they are shown is handed in.
"""

import os
import random
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext, suppress
from functools import partial

import trio

from trio_relay.cli.shared.signals import until_signal
from trio_relay.cli.shared.terminal import local_time, printable, printable_text
from trio_relay.cli.shared.waiting import VERDICTS
from trio_relay.cli.talking.inbox import arrivals
from trio_relay.cli.talking.presence import EVIDENCE, present, take
from trio_relay.cli.talking.typing_line import Face, Kind, Pipe, Shown, Terminal
from trio_relay.client import admin
from trio_relay.client.http import RelayClient
from trio_relay.core.access import Scope
from trio_relay.core.ladder import FINAL
from trio_relay.core.model import Authority, Rung, Verdict
from trio_relay.core.targets import parse_target
from trio_relay.core.timing import backoff
from trio_relay.core.wire import InboxMessage, Receipt, SendRequest, SentMessage
from trio_relay.core.wire_access import TokenRequest
from trio_relay.errors import RelayError
from trio_relay.supervise import Doorbell, insist

#: How often the ladders of what was sent are looked at, and how long each is followed, seconds.
LOOK_EVERY = 0.25
FOLLOWED = 600.0
#: How long a chat without a terminal stays for answers when its input has ended, seconds.
LINGER = 30.0
#: A person's token outlives no chat: it is revoked at the end, and after a day in any case. Milliseconds.
_TOKEN_TTL = 86_400_000
_GOODBYE = 3.0
_HELP = """Every line is a message; one that ends with \\ goes on in the next.
  /to TARGET  talk to another from now on
  /quit       leave, as Ctrl-D does
  //...       send a line that begins with a slash"""


async def run_chat(
    relay: RelayClient, me: str, target: str, channel: str | None, linger: float | None
) -> int | None:
    """Chat until the input ends or a signal comes; answer the exit code if it was a signal."""
    person = sys.stdin.isatty() and sys.stdout.isatty()
    await _known(relay, target)
    terminal = Terminal("> ") if person and os.environ.get("TERM") != "dumb" else None
    face: Face = terminal or Pipe()
    async with (
        as_a_person(relay, me, RelayClient.open) if person else nullcontext(relay) as speaking,
        until_signal() as stopped,
        present(speaking, me),
    ):
        with terminal.kept_in_order() if terminal else nullcontext():
            chat = Chat(speaking, me, target, face, person=person, channel=channel)
            face.show(Shown(Kind.NOTE, await _greeting(speaking, me, target)))
            await chat.run(linger if linger is not None else 0.0 if person else LINGER)
    return stopped.exit_code


@asynccontextmanager
async def as_a_person(
    relay: RelayClient, me: str, connect: Callable[[str, str], AbstractAsyncContextManager[RelayClient]]
) -> AsyncIterator[RelayClient]:
    """Speak with a person's authority, where our own credential may give it: with a token for this chat alone.

    What a person says passes every loop breaker and is told to the reader as a person's word. Whoever may mint no
    tokens speaks with the authority their own has.
    """
    caller = await relay.whoami()
    if caller.authority is Authority.HUMAN or Scope.ADMIN not in caller.scopes:
        yield relay
        return
    scopes = [Scope.SEND, Scope.RECEIVE, Scope.CLAIM, Scope.OBSERVE]
    request = TokenRequest(
        name="chat", agent_id=me, scopes=scopes, authority=Authority.HUMAN, ttl_ms=_TOKEN_TTL
    )
    minted = await admin.mint_token(relay, request)
    try:
        async with connect(relay.url, minted.token) as personal:
            yield personal
    finally:
        with trio.move_on_after(_GOODBYE, shield=True), suppress(RelayError):
            await admin.revoke_token(relay, minted.id)


class Chat:
    """One conversation. `person`: somebody sits there, so what is typed proves that what stood above was seen."""

    def __init__(
        self,
        relay: RelayClient,
        me: str,
        target: str,
        face: Face,
        *,
        person: bool,
        channel: str | None = None,
    ) -> None:
        self._relay = relay
        self._me = me
        self._target = target
        self._face = face
        self._person = person
        self._channel = channel
        self._shown: set[int] = set()
        #: What was shown and is not marked as read.
        self._unread: list[InboxMessage] = []
        #: What the next line answers: the last word of whom it goes to.
        self._answering: dict[str, InboxMessage] = {}
        self._followed: dict[int, _Followed] = {}
        self._changed = Doorbell()
        self._arrived = Doorbell()
        self._quiet = trio.Event()

    async def run(self, linger: float) -> None:
        """Chat until the input ends, and up to `linger` seconds longer until all that was sent has come to an end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.receive)
            nursery.start_soon(self.watch)
            await self.speak()
            if linger and self._followed:
                self._quiet = trio.Event()
                with trio.move_on_after(linger):
                    await self._quiet.wait()
                    # An answer stands in the ladder an instant before it is shown.
                    while any(each.id not in self._shown for each in await self._relay.inbox(self._me)):
                        await self._arrived.wait()
            nursery.cancel_scope.cancel()

    async def receive(self) -> None:
        """Task: show what arrives, and say that it was handed over."""
        async for message in arrivals(self._relay, self._me, unread=True, follow=True):
            self._shown.add(message.id)
            if not await take(self._relay, self._me, message):
                self._arrived.ring()
                continue
            self._face.show(Shown(Kind.MESSAGE, spoken_by(message)))
            self._unread.append(message)
            self._answering[message.sender] = message
            self._arrived.ring()

    async def speak(self) -> None:
        """Send what is typed, a line at a time, until there is no more."""
        begun: list[str] = []
        async with aclosing(self._face.lines()) as lines:
            async for line in lines:
                if line.endswith("\\"):
                    begun.append(line[:-1])
                    continue
                text = "\n".join([*begun, line])
                begun = []
                if text.strip() in {"/quit", "/exit"}:
                    break
                if text.startswith("/") and not text.startswith("//"):
                    await self._command(text)
                elif text.strip():
                    await self._send(text[1:] if text.startswith("//") else text)
        if self._person:  # Ctrl-D is a key as well
            await self._settle(None)

    async def watch(self) -> None:
        """Task: tell how far each line has got, until it can get no further."""
        while True:
            if not self._followed:
                self._quiet.set()
                await self._changed.wait()
            for message_id, followed in list(self._followed.items()):
                with suppress(RelayError):  # away for now: what arrives says so
                    await self._look(message_id, followed)
            await trio.sleep(LOOK_EVERY)

    async def _look(self, message_id: int, followed: "_Followed") -> None:
        ladders = await self._relay.receipts(message_id)
        told = progress_of(ladders)
        if told is not None and told != followed.told:
            followed.told = told
            self._face.show(Shown(Kind.STATUS, f"  [{message_id}] {told}", key=message_id))
        ended = bool(ladders) and all(_is_over(ladder) for ladder in ladders)
        if ended or trio.current_time() >= followed.until:
            del self._followed[message_id]

    async def _send(self, text: str) -> None:
        answered = self._answering.get(self._target)
        request = SendRequest(
            sender=self._me,
            to=self._target,
            body=text,
            channel=self._channel,
            reply_to=answered.id if answered is not None else None,
            type="reply" if answered is not None else None,
            # The same at every attempt: however often the connection is lost, it is sent once.
            idempotency_key=str(uuid.uuid4()),
        )
        away: list[Exception] = []

        def not_yet(error: Exception) -> None:
            if not away:
                self._note("The relay is away; this is sent as soon as it is back.")
            away.append(error)

        try:
            sent = await insist(
                partial(self._relay.send, request),
                delays=partial(backoff, 0.5, 10.0, random.random),
                on_failure=not_yet,
            )
        except RelayError as error:
            self._note(f"Not sent: {printable(error.detail)}")
            return
        for line in _doubts(sent):
            self._face.show(Shown(Kind.STATUS, f"  [{sent.id}] {line}"))
        self._followed[sent.id] = _Followed(trio.current_time() + FOLLOWED)
        self._changed.ring()
        await self._settle(answered)

    async def _settle(self, answered: InboxMessage | None) -> None:
        """Say that what was answered is done with; and, where a person types, that what stood above was read."""
        seen, self._unread = self._unread, []
        for message in seen:
            with suppress(RelayError):
                if answered is not None and message.id == answered.id:
                    await self._relay.report(message.id, self._me, Rung.SETTLED, EVIDENCE)
                elif self._person:
                    await self._relay.mark_read(message.id, self._me)
                else:
                    self._unread.append(message)

    async def _command(self, text: str) -> None:
        word, *rest = text.split()
        if word == "/to" and len(rest) == 1:
            try:
                await _known(self._relay, rest[0])
            except RelayError as error:
                self._note(printable(error.detail))
                return
            self._target = rest[0]
            self._note(f"To {printable(self._target)} from now on.")
        elif word == "/help":
            self._note(_HELP)
        else:
            self._note(f"No such command: {printable(text)}. /help lists them; // sends a line with a slash.")

    def _note(self, text: str) -> None:
        self._face.show(Shown(Kind.NOTE, text))


class _Followed:
    """A line that was sent: what was told of it last, and until when it is followed (trio's clock)."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.told: str | None = None


def spoken_by(message: InboxMessage) -> str:
    """Write what somebody said."""
    facts = [f"[{message.id}]"]
    if message.claimable:
        facts.append("claimable")
    if message.channel is not None:
        facts.append(f"channel {printable(message.channel)}")
    if message.subject:
        facts.append(printable(message.subject))
    head = f"{printable(message.sender)}  {local_time(message.created_at)}  {'  '.join(facts)}"
    body = "\n".join(f"  {line}" for line in printable_text(message.body).split("\n"))
    return f"{head}\n{body}"


def progress_of(ladders: Sequence[Receipt]) -> str | None:
    """Say how far a message has got; None where there is nothing to say: it waits, or its answer says it all."""
    told = [_rung(ladder) for ladder in ladders]
    worth = [each for each in told if each is not None]
    if not worth:
        return None
    if len(ladders) == 1:
        return worth[0]
    counts = {each.split(" ")[0]: 0 for each in worth}
    for each in worth:
        counts[each.split(" ")[0]] += 1
    return ", ".join(f"{count} of {len(ladders)} {rung}" for rung, count in counts.items())


def _rung(ladder: Receipt) -> str | None:
    """Name the rung a recipient is on, with the seconds it took; None where it needs no words."""
    seen = {step.state for step in ladder.steps}
    if Rung.ANSWERED in seen or ladder.state in (Rung.ACCEPTED, Rung.QUEUED) or not ladder.steps:
        return None
    took = (ladder.steps[-1].at - ladder.steps[0].at) / 1000
    return f"{ladder.state.value} after {took:.2f} s"


def _is_over(ladder: Receipt) -> bool:
    return ladder.state in FINAL or any(step.state is Rung.ANSWERED for step in ladder.steps)


def _doubts(sent: SentMessage) -> list[str]:
    """What makes it doubtful that anybody reads this now."""
    if sent.parked_reason is not None:
        return [f"held: the conversation waits for a person ({printable(sent.parked_reason)})"]
    if sent.parked:
        return ["nobody answers to that yet: it waits for the first who does"]
    return [
        f"{printable(each.agent_id)} is {VERDICTS[each.verdict]}"
        for each in sent.recipients
        if each.verdict is not Verdict.LIVE_IDLE
    ]


async def _known(relay: RelayClient, target: str) -> None:
    """Make sure that there is such an agent, before anybody types.

    Raises:
        NotFound: nobody has registered it.

    """
    parsed = parse_target(target)
    if not parsed.fan_out:
        await relay.agent(parsed.text)


async def _greeting(relay: RelayClient, me: str, target: str) -> str:
    parsed = parse_target(target)
    if parsed.fan_out:
        about = ""
    else:
        agent = await relay.agent(parsed.text)
        about = f" ({agent.status}{'' if agent.ready else ', not listening'})"
    return f"You are {printable(me)}, talking to {printable(target)}{about}.\n/help helps, Ctrl-D leaves."
