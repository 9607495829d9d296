"""The client library for programs without an event loop: the same names, from any thread.

A loop of its own runs in a thread behind `connect`. Ctrl-C ends whatever is being waited for; the blocks then end as
after any other error: claims are given back, the agent goes offline. Where the asynchronous library cancels a block
whose lease is lost, a synchronous block cannot be stopped: `lost` says so at its end, and while it runs.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from anyio.from_thread import start_blocking_portal

from trio_relay.client import agent as agents
from trio_relay.client import received as messages
from trio_relay.client import relay as relays
from trio_relay.client import work as works
from trio_relay.client.events import Event, EventStream
from trio_relay.client.http import RelayClient
from trio_relay.client.outbox import Entry, Outbox
from trio_relay.client.portal import Block, LoopThread, within
from trio_relay.client.sending import EventFields, MessageFields
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import Agent, Message, SentMessage
from trio_relay.core.wire_approvals import Approval
from trio_relay.core.wire_tasks import Task

T = TypeVar("T")


class Received:
    """A message for this agent; see `trio_relay.client.received.Received`. `wire` is the whole of it."""

    def __init__(self, thread: LoopThread, inner: messages.Received) -> None:
        self._thread = thread
        self._inner = inner
        self.wire = inner.wire
        self.id = inner.id
        self.sender = inner.sender
        self.body = inner.body
        self.subject = inner.subject
        self.kind = inner.kind
        self.meta = inner.meta
        self.authority = inner.authority

    def __repr__(self) -> str:
        return repr(self._inner)

    @property
    def settled(self) -> bool:
        """Whether it is settled."""
        return self._inner.settled

    def reply(self, body: str, **fields: Unpack[MessageFields]) -> SentMessage:
        """Answer its sender."""
        return self._thread.run(self._inner.reply, body, **fields)

    def seen(self, **evidence: Any) -> None:
        """Say that it is in a model's context, and what shows that."""
        self._thread.run(self._inner.seen, **evidence)

    def settle(self) -> None:
        """Be done with it, now."""
        self._thread.run(self._inner.settle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.settle()
        else:
            self._thread.portal.call(self._inner.put_back, kind.__name__)


class Work(Received):
    """A claimed message. ``with work:`` keeps the claim; the end of the block completes it, an error gives it back."""

    def __init__(self, thread: LoopThread, inner: works.Work) -> None:
        super().__init__(thread, inner)
        self._work = inner
        self._block = Block(thread, inner)
        self.task_id = inner.task_id

    @property
    def lost(self) -> bool:
        """Whether the claim could not be kept: the work is somebody else's."""
        return self._work.lost

    @property
    def result(self) -> Any:
        """What the end of the block completes it with: any JSON."""
        return self._work.result

    @result.setter
    def result(self, result: Any) -> None:
        self._work.result = result

    def complete(self, result: Any = None) -> None:
        """Say that it is done."""
        self._thread.run(self._work.complete, result)

    def release(self) -> None:
        """Give it back."""
        self._thread.run(self._work.release)

    def fail(self, reason: Any = None) -> None:
        """Say that the task cannot be done. Only for tasks."""
        self._thread.run(self._work.fail, reason)

    def progress(self, progress: Any) -> None:
        """Say how far the task is. Only for tasks."""
        self._thread.run(self._work.progress, progress)

    def __enter__(self) -> Self:
        self._block.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block.__exit__(kind, error, trace)


class AgentSession:
    """An agent that is in the room; see `trio_relay.client.agent.AgentSession`. Waits take a `timeout`, in seconds."""

    def __init__(self, thread: LoopThread, inner: agents.AgentSession) -> None:
        self._thread = thread.of(inner.presence)
        self._inner = inner
        self.id = inner.id

    def inbox(self, *, manual: bool = False, timeout: float | None = None) -> Iterator[Received]:
        """The messages as they come; with `timeout`, until nothing has come for so long."""
        inbox = self._inner.inbox(manual=manual)
        while True:
            try:
                message = self._thread.run(within, timeout, inbox.__anext__)
            except TimeoutError:
                return
            yield Received(self._thread, message)

    def receive(self, timeout: float | None = None) -> Received:
        """Wait for one message; TimeoutError if none comes."""
        return Received(self._thread, self._thread.run(within, timeout, self._inner.receive))

    def claimables(self, timeout: float | None = None) -> Iterator[Work]:
        """The work there is, each claimed; with `timeout`, until there was none for so long."""
        claimables = self._inner.claimables()
        while True:
            try:
                work = self._thread.run(within, timeout, claimables.__anext__)
            except TimeoutError:
                return
            yield Work(self._thread, work)

    def lease(self, key: str, ttl: float = 60.0) -> AbstractContextManager[works.HeldLease]:
        """Hold a named resource for a block."""
        return Block(self._thread, self._inner.lease(key, ttl))

    def send(
        self,
        to: str,
        body: str,
        *,
        wait: Rung | str | None = None,
        timeout: float | None = None,
        **fields: Unpack[MessageFields],
    ) -> SentMessage:
        """Send a message; with `wait`, return once every recipient was seen on that rung; TimeoutError if not by then."""
        sending = partial(self._inner.send, to, body, wait=wait, **fields)
        sent: SentMessage = self._thread.run(within, timeout, sending)
        return sent

    def post(self, to: str, body: str, **fields: Unpack[MessageFields]) -> str:
        """Put a message into the outbox."""
        return self._thread.run(self._inner.post, to, body, **fields)

    def ask(
        self, to: str, body: str, *, timeout: float | None = None, **fields: Unpack[MessageFields]
    ) -> Message:
        """Send a message and wait for the first answer; TimeoutError if none comes."""
        answer: Message = self._thread.run(within, timeout, partial(self._inner.ask, to, body, **fields))
        return answer

    def ask_person(
        self, tool: str, summary: str, *, detail: str | None = None, ttl: float = 600.0
    ) -> Approval:
        """Ask a person whether this agent may do something."""
        return self._thread.run(self._inner.ask_person, tool, summary, detail=detail, ttl=ttl)

    def set_status(self, status: AgentStatus | str) -> None:
        """Say what it is doing."""
        self._thread.run(self._inner.set_status, status)

    def set_ready(self, ready: bool, reason: str | None = None) -> None:
        """Say whether it can take messages now, and if not, why."""
        self._thread.run(self._inner.set_ready, ready, reason)


class OutboxFace:
    """What waits to be sent; see `trio_relay.client.outbox.Outbox`."""

    def __init__(self, thread: LoopThread, inner: Outbox) -> None:
        self._thread = thread
        self._inner = inner

    def waiting(self) -> int:
        """How many wait to be sent."""
        return self._thread.run(self._inner.waiting)

    def refused(self) -> list[Entry]:
        """What was set aside, and why."""
        return self._thread.run(self._inner.refused)

    def retry(self, key: str) -> None:
        """Have what was set aside sent after all."""
        self._thread.run(self._inner.retry, key)

    def drop(self, key: str) -> None:
        """Take a message out, unsent."""
        self._thread.run(self._inner.drop, key)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until nothing waits any more; TimeoutError if something still does."""
        self._thread.run(within, timeout, self._inner.flush)


class Relay:
    """A relay; see `trio_relay.client.relay.Relay`."""

    def __init__(self, thread: LoopThread, inner: relays.Relay) -> None:
        self._thread = thread
        self._inner = inner

    @property
    def client(self) -> RelayClient:
        """Every call of the API, for `run`."""
        return self._inner.client

    @property
    def outbox(self) -> OutboxFace:
        """What waits to be sent."""
        return OutboxFace(self._thread, self._inner.outbox)

    def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> T:
        """Run any coroutine function of the library: ``relay.run(relay.client.stats)``."""
        return self._thread.run(function, *args, **kwargs)

    @contextmanager
    def agent(
        self,
        agent_id: str,
        *,
        tags: Sequence[str] = (),
        capabilities: Sequence[str] = (),
        channels: Sequence[str] = (),
        label: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Iterator[AgentSession]:
        """Be in the room as an agent while the block runs."""
        joining = self._inner.agent(
            agent_id, tags=tags, capabilities=capabilities, channels=channels, label=label, meta=meta
        )
        with Block(self._thread, joining) as inner:
            yield AgentSession(self._thread, inner)

    def send(
        self,
        to: str,
        body: str,
        *,
        sender: str,
        wait: Rung | str | None = None,
        **fields: Unpack[MessageFields],
    ) -> SentMessage:
        """Send a message as `sender` without being in the room."""
        return self._thread.run(self._inner.send, to, body, sender=sender, wait=wait, **fields)

    def post(self, to: str, body: str, *, sender: str, **fields: Unpack[MessageFields]) -> str:
        """Put a message into the outbox."""
        return self._thread.run(self._inner.post, to, body, sender=sender, **fields)

    def agents(self, **filters: Any) -> list[Agent]:
        """Who is in the room."""
        return self._thread.run(self._inner.agents, **filters)

    def search(self, text: str, limit: int = 20) -> list[Message]:
        """Messages that hold these words, newest first."""
        return self._thread.run(self._inner.search, text, limit)

    @contextmanager
    def events(
        self, *types: str, agent: str | None = None, after: int | None = None
    ) -> Iterator[Iterator[Event]]:
        """Follow what happens."""
        with Block(self._thread, self._inner.events(*types, agent=agent, after=after)) as stream:
            yield self._follow(stream)

    def _follow(self, stream: EventStream) -> Iterator[Event]:
        while True:
            yield self._thread.run(stream.__anext__)

    def post_event(self, title: str, **fields: Unpack[EventFields]) -> Task:
        """Say, with the token of an integration, that something happened."""
        return self._thread.run(self._inner.post_event, title, **fields)

    def wait_for_task(self, task_id: int, timeout: float | None = None) -> Task:
        """Wait until a task has ended; TimeoutError if it has not by then."""
        task: Task = self._thread.run(within, timeout, partial(self._inner.wait_for_task, task_id))
        return task


@contextmanager
def connect(
    url: str = "http://127.0.0.1:4850",
    token: str | None = None,
    *,
    outbox: Path | str | bool = False,
    timeout: float = 10.0,
) -> Iterator[Relay]:
    """Talk to the relay at `url`, as `trio_relay.client.connect` does."""
    with start_blocking_portal("trio") as portal:
        thread = LoopThread(portal)
        with Block(thread, relays.connect(url, token, outbox=outbox, timeout=timeout)) as inner:
            yield Relay(thread, inner)
