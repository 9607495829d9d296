"""The relay as a program's author sees it: `connect`, and what can be done from there."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Unpack

import anyio

from trio_relay.client import events, tasks
from trio_relay.client.agent import AgentSession, join
from trio_relay.client.following import reach
from trio_relay.client.holding import DELAYS, bare_errors, insist
from trio_relay.client.http import RelayClient
from trio_relay.client.outbox import Outbox, default_path
from trio_relay.client.sending import EventFields, MessageFields, deliver, message_of
from trio_relay.core.model import Rung
from trio_relay.core.tasks import ENDED
from trio_relay.core.wire import Agent, Message, SentMessage
from trio_relay.core.wire_tasks import IntegrationEvent, Task
from trio_relay.errors import Invalid


class Relay:
    """A relay. `client` has every call of the API."""

    def __init__(self, client: RelayClient, outbox: Outbox | None = None) -> None:
        self.client = client
        self._outbox = outbox

    @property
    def outbox(self) -> Outbox:
        """What waits to be sent.

        Raises:
            Invalid: `connect` was not given one (``no_outbox``).

        """
        if self._outbox is None:
            raise Invalid("there is no outbox: connect(…, outbox=PATH) opens one", code="no_outbox")
        return self._outbox

    def agent(
        self,
        agent_id: str,
        *,
        tags: Sequence[str] = (),
        capabilities: Sequence[str] = (),
        channels: Sequence[str] = (),
        label: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> AbstractAsyncContextManager[AgentSession]:
        """Be in the room as an agent while the block runs: registered, heard from, offline after.

        Raises:
            ConnectionLost: the relay cannot be reached to begin with; later it is waited for.
            StaleInstance: from the block: a newer instance of the agent has taken over.

        """
        return join(
            self.client,
            agent_id,
            outbox=lambda: self.outbox,
            tags=tags,
            capabilities=capabilities,
            channels=channels,
            label=label,
            meta=meta or {},
            delays=DELAYS,
        )

    async def send(
        self,
        to: str,
        body: str,
        *,
        sender: str,
        wait: Rung | str | None = None,
        **fields: Unpack[MessageFields],
    ) -> SentMessage:
        """Send a message as `sender` without being in the room; the rest as of `AgentSession.send`."""
        sent = await deliver(self.client, message_of(sender, to, body, fields))
        if wait is not None:
            await reach(self.client, sent, Rung(wait))
        return sent

    async def post(self, to: str, body: str, *, sender: str, **fields: Unpack[MessageFields]) -> str:
        """Put a message into the outbox: on disk when this returns, sent in order when the relay is there.

        What it is called until then, its idempotency key, is the answer.
        """
        return await self.outbox.post(message_of(sender, to, body, fields))

    async def agents(self, **filters: Any) -> list[Agent]:
        """Who is in the room (filters status, tag, cap, label, machine, ready)."""
        return await self.client.agents(**filters)

    async def search(self, text: str, limit: int = 20) -> list[Message]:
        """Messages that hold these words, newest first."""
        return await self.client.browse(q=text, limit=limit)

    def events(
        self, *types: str, agent: str | None = None, after: int | None = None
    ) -> AbstractAsyncContextManager[events.EventStream]:
        """Follow what happens (kinds, or families like ``message.*``; none named: everything)."""
        return events.follow(self.client, types=types or None, agent=agent, after=after)

    async def post_event(self, title: str, **fields: Unpack[EventFields]) -> Task:
        """Say, with the token of an integration, that something happened: work for exactly one agent.

        `fields`: target, body, type, severity, dedupe_key, … of `IntegrationEvent`. With a `dedupe_key` repeating the
        call is safe: while its task is active it is counted there.
        """
        return await tasks.post_event(self.client, IntegrationEvent(title=title, **fields))

    async def wait_for_task(self, task_id: int) -> Task:
        """Wait until a task is done, failed or canceled. Needs a token with the scope ``observe``."""
        async with events.follow(self.client, types=["task.*"]) as stream:
            while True:
                task = await insist(lambda: tasks.get_task(self.client, task_id), DELAYS)
                if task.status in ENDED:
                    return task
                async for event in stream:
                    if event.kind == "gap" or event.data.get("taskId") == task_id:
                        break


@asynccontextmanager
async def connect(
    url: str = "http://127.0.0.1:4850",
    token: str | None = None,
    *,
    outbox: Outbox | Path | str | bool = False,
    timeout: float = 10.0,  # noqa: ASYNC109  # bounds every later call, not this one
    transport: Any = None,
) -> AsyncIterator[Relay]:
    """Talk to the relay at `url`; each call is given `timeout` seconds, beside what it is asked to wait.

    With `outbox` (an open one; the path of its file; True: one in the user's state directory) what is posted while
    the relay is away is sent later. What has not been sent when the block ends waits in the file for the next.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            RelayClient.open(url, token, timeout=timeout, transport=transport)
        )
        if outbox is False:
            yield Relay(client)
            return
        if not isinstance(outbox, Outbox):
            path = default_path(url) if outbox is True else Path(outbox)
            outbox = await stack.enter_async_context(Outbox.open(path))
        with bare_errors():
            async with anyio.create_task_group() as group:
                group.start_soon(outbox.drain, client, DELAYS)
                yield Relay(client, outbox)
                group.cancel_scope.cancel()
