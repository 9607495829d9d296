"""The sidecar's tasks, by lifetime: process, registration with the relay, connection to the app-server.

```
process         stop on a signal
  registration    poll_inbox · heartbeat · publish · outbox · one task a claim · keep_connected
    connection      attach · move when the person does
      stay            listen · drain
```

Each level ends as one cancellation and is begun afresh. Being forgotten by the relay, losing the app-server and being
killed are therefore recovered from in the same way: by reading the inbox and the thread.
"""

import os
import uuid
from dataclasses import replace
from enum import IntEnum
from functools import partial

import structlog
import trio

from trio_relay import __version__
from trio_relay.client import RelayClient
from trio_relay.client.admin import bind_token
from trio_relay.codex.app_server import AppServer
from trio_relay.codex.follow import Follower, Move
from trio_relay.codex.protocol import CallFailed, ThreadView
from trio_relay.core.model import AgentStatus
from trio_relay.core.prompts import startup_context
from trio_relay.core.timing import backoff
from trio_relay.core.wire import Agent
from trio_relay.errors import Refused, RelayError, StaleInstance
from trio_relay.settings import AgentSettings, SidecarSettings
from trio_relay.sidecar.claims import Claims
from trio_relay.sidecar.connection import Wishes, attach, introduce_again, listen
from trio_relay.sidecar.drain import Deliverer, Manner, drain
from trio_relay.sidecar.heartbeat import heartbeat
from trio_relay.sidecar.ledger import Ledger
from trio_relay.sidecar.naming import settle_name
from trio_relay.sidecar.outbox import Outbox
from trio_relay.sidecar.permissions import SessionPermissions
from trio_relay.sidecar.poll import poll_inbox
from trio_relay.sidecar.session import Session, Unregistered
from trio_relay.sidecar.state_file import InFlight, State, StateFile
from trio_relay.sidecar.status import Situation
from trio_relay.sidecar.threads import Threads
from trio_relay.sidecar.trouble import Trouble
from trio_relay.sidecar.versions import note_relay
from trio_relay.sidecar.whoami import Identity, identify, session_of, wanted_thread
from trio_relay.sidecar.world import World, real_world
from trio_relay.supervise import WEATHER, first_of, insist, keep_connected, stop_on_signal

log = structlog.get_logger(__name__)

#: Seconds the last words to the relay may take.
FAREWELL = 5.0


class Exit(IntEnum):
    """How a sidecar ends, as its exit code."""

    STOPPED = 0
    REFUSED = 2
    REPLACED = 3


async def run_sidecar(agent: AgentSettings, sidecar: SidecarSettings, world: World | None = None) -> int:
    """Carry messages between the relay and a Codex thread until stopped; the exit code (`Exit`).

    Weather is waited out for ever. It ends by itself only when the relay refuses it, or when a newer instance of the
    same agent has registered.
    """
    world = world or real_world(agent, sidecar)
    book = StateFile.open(world.state_path, world.now)
    instance_id = str(uuid.UUID(int=world.rng.getrandbits(128), version=4))
    me = identify(agent, sidecar, book.state, host=world.host, cwd=world.cwd, instance_id=instance_id)
    _begin_book(book, me, sidecar)
    code = Exit.STOPPED
    async with world.open_relay() as relay, trio.open_nursery() as process:
        if world.signals:
            await process.start(stop_on_signal, process.cancel_scope.cancel)
        code = await _Sidecar(me, sidecar, world, relay, book).live()
        process.cancel_scope.cancel()
    return code


def _begin_book(book: StateFile, me: Identity, sidecar: SidecarSettings) -> None:
    """Begin the state of this instance; of a predecessor remains what concerns the same agent."""
    before = book.state
    mine = before if before.agent_id == me.agent_id else State()
    book.state = State(
        agent_id=me.agent_id,
        instance_id=me.instance_id,
        relay_url=me.settings.relay_url,
        app_server_url=sidecar.app_server_url,
        cwd=me.cwd,
        session=session_of(sidecar),
        thread_id=wanted_thread(sidecar, before),
        introduced_threads=mine.introduced_threads,
        note=mine.note,
        in_flight=mine.in_flight,
        versions={"sidecar": __version__},
        pid=os.getpid(),
    )
    book.write()


class _Sidecar:
    """One sidecar process. `live` is its life."""

    def __init__(
        self, me: Identity, settings: SidecarSettings, world: World, relay: RelayClient, book: StateFile
    ) -> None:
        self._me = me
        self._settings = settings
        self._world = world
        self._relay = relay
        self._book = book
        self._auto_reply = settings.auto_reply == "final"
        self._tools = settings.tools == "on"
        chance = world.rng.random
        self._relay_delays = partial(
            backoff, settings.relay_backoff_initial, settings.relay_backoff_max, chance
        )
        self._server_delays = partial(backoff, settings.reconnect_initial, settings.reconnect_max, chance)

    async def live(self) -> Exit:
        """Register, again whenever the relay has forgotten us, and serve each registration to its end."""
        named = self._me.named_after is None
        while True:
            try:
                if not named:
                    await insist(self._settle_name, delays=self._relay_delays, on_failure=self._relay_away)
                    named = True
                agent = await insist(
                    partial(self._register, AgentStatus.ONLINE),
                    delays=self._relay_delays,
                    on_failure=self._relay_away,
                )
            except RelayError as error:
                return self._refused(error)
            self._book.update(epoch=agent.epoch, reason=None)
            log.info("registered", agent=agent.id, epoch=agent.epoch)
            await note_relay(self._relay, self._book)
            await self._bind_token(agent)
            end = await self._serve(agent)
            if end is not None:
                return end
            log.warning("the relay has forgotten this agent, registering again", agent=agent.id)

    async def _settle_name(self) -> None:
        """Take up the name of the agent that was in the thread last."""
        assert self._me.named_after is not None
        name = await settle_name(self._relay, self._me, self._me.named_after)
        if name != self._me.agent_id:
            log.info("taking up the thread under another name", agent=name, instead_of=self._me.agent_id)
            self._me = replace(self._me, agent_id=name)
            self._book.update(agent_id=name)

    async def _bind_token(self, agent: Agent) -> None:
        """Have the token of the model's tools speak for this agent and no other."""
        if self._settings.token_id is None:
            return
        try:
            await bind_token(self._relay, self._settings.token_id, agent.id)
        except RelayError as error:
            # The relay then knows who speaks by the thread the call comes from.
            log.warning("the token of the tools stays unbound", reason=error.detail)

    def _relay_away(self, error: Exception) -> None:
        if self._book.state.reason != str(error):
            self._book.update(reason=str(error))
            log.warning("relay is away", reason=str(error))

    async def _register(self, status: AgentStatus) -> Agent:
        state = self._book.state
        return await self._relay.register(self._me.registration(status, state.thread_id, state.note))

    async def _serve(self, agent: Agent) -> Exit | None:
        """Serve one registration to its end; None when the relay has forgotten it."""
        session = Session(self._relay, agent, self._relay_delays)
        situation = Situation(self._book, self._register)
        situation.relay_said(agent)
        outbox = Outbox(session, auto_reply=self._auto_reply)
        ledger = Ledger(
            channels=self._me.resolved.channels,
            post=outbox.post,
            keep=self._keep,
            tools=self._tools,
            digest_window=self._settings.digest_window,
        )
        every = self._settings.heartbeat_interval
        ended: RelayError | None = None
        try:
            async with trio.open_nursery() as registration:
                claims = outbox.claims = Claims(session, registration, every, offers=self._me.offers_work)
                registration.start_soon(heartbeat, session, situation, every)
                registration.start_soon(situation.publish, session)
                await registration.start(
                    poll_inbox, session, ledger, situation, self._book, self._settings.poll_interval
                )
                for (
                    message_id
                ) in ledger.claimable_in_hand:  # a new instance holds none of the old one's claims
                    await claims.take(message_id)
                registration.start_soon(outbox.run, ledger.finished)
                await self._stay_attached(session, situation, ledger, claims)
        except* (Unregistered, StaleInstance, Refused) as group:
            ended = first_of(group, RelayError)
        finally:
            if ended is None:
                await self._farewell(session, outbox, ledger)
        if isinstance(ended, Unregistered):
            return None
        if isinstance(ended, StaleInstance):
            return await self._replaced(agent)
        assert ended is not None
        return self._refused(ended)

    async def _stay_attached(
        self, session: Session, situation: Situation, ledger: Ledger, claims: Claims
    ) -> None:
        """Hold a connection to the app-server, one after another, for ever."""
        manner = Manner(
            agent_id=self._me.agent_id,
            auto_reply=self._auto_reply,
            tools=self._tools,
            approval=self._me.approval,
            window=self._settings.coalesce_window,
            rng=self._world.rng,
            find_items=self._world.find_items,
            may_interrupt=self._me.may_interrupt,
        )

        trouble = Trouble(situation)

        async def attend(server: AppServer) -> None:
            follower = self._follower(server)
            move = None if follower is None else await follower.present()
            threads = Threads(server)
            following = self._settings.follow == "person"
            permissions = SessionPermissions(
                self._me.approval_policy if following else None, self._me.sandbox
            )
            while True:
                view = await self._enter(server, situation, permissions, follower, move)
                threads.enter(view)
                situation.turn(view.turn_id, active=view.active)
                for thread_id in ledger.threads_in_hand:
                    if await threads.watch(thread_id) and follower is not None:
                        follower.resumed(thread_id)
                async with trio.open_nursery() as stay:
                    deliver = Deliverer(server, session, view, threads, ledger, claims, trouble, manner)
                    stay.start_soon(drain, deliver)
                    move = await listen(
                        server,
                        threads,
                        ledger,
                        situation,
                        trouble=trouble,
                        permissions=permissions,
                        follower=follower,
                        introduce_again=partial(
                            introduce_again, server, view.thread_id, self._wishes(None), self._book
                        ),
                    )
                    stay.cancel_scope.cancel()
                ledger.call_abandoned()

        def lost(error: Exception) -> None:
            ledger.connection_lost()
            situation.detached(str(error))

        await keep_connected(
            self._world.open_server,
            attend,
            delays=self._server_delays,
            on_lost=lost,
            weather=(*WEATHER, Refused),
        )

    def _follower(self, server: AppServer) -> Follower | None:
        """Make what tells where the person goes, if they are to be followed."""
        if self._settings.follow == "off":
            return None
        here = self._settings.follow == "here"
        current = self._book.state.thread_id
        return Follower(server, cwd=self._me.cwd if here else None, shared=here, current=current)

    async def _enter(
        self,
        server: AppServer,
        situation: Situation,
        permissions: SessionPermissions,
        follower: Follower | None,
        move: Move | None,
    ) -> ThreadView:
        """Attach to the thread, which after a `move` is another one."""
        if move is not None:
            left = self._book.state.thread_id
            log.info("the person has moved", thread=move.thread_id, how=move.how, before=left)
            note = f"the person {move.how}; before they were in {left}"
            self._book.update(thread_id=move.thread_id, note=note)
        attached = await attach(server, self._wishes(move), self._book)
        if follower is not None:
            follower.current = attached.thread_id
            follower.resumed(attached.thread_id)
        wanted = permissions.entered(attached, new=move is not None and move.new)
        if wanted is not None:
            try:
                await server.set_permissions(attached.thread_id, wanted)
            except CallFailed as error:
                log.warning("the session's permissions were not taken over", reason=error.message)
        view = server.view(attached.thread_id)
        view.attach(attached.status, attached.turn_id)
        situation.attached(attached.thread_id, server.user_agent)
        return view

    def _wishes(self, move: Move | None) -> Wishes:
        """The thread to attach to: the one there was before, in this life or, if wanted, an earlier one."""
        thread_id = self._book.state.thread_id
        given = self._settings.thread_id if self._settings.thread_mode in {"resume", "auto"} else None
        return Wishes(
            thread_id=thread_id,
            must_be_that=thread_id is not None and (given == thread_id or self._settings.follow != "off"),
            cwd=self._me.cwd,
            model=self._settings.model,
            approval_policy=self._me.approval_policy,
            sandbox=self._me.sandbox,
            introduction=lambda: startup_context(
                self._me.introduction(), auto_reply=self._auto_reply, tools=self._tools
            ),
            move=move,
        )

    def _keep(self, in_flight: list[InFlight], pending: int) -> None:
        self._book.update(in_flight=in_flight, pending_count=pending)

    async def _farewell(self, session: Session, outbox: Outbox, ledger: Ledger) -> None:
        """Say the last words, for a bounded time even when cancelled: what is known and not told yet, then offline."""
        with trio.move_on_after(FAREWELL, shield=True):
            try:
                await outbox.flush(ledger.finished)
                await self._relay.set_status(session.agent_id, AgentStatus.OFFLINE, session=session.fields)
            except* RelayError as group:
                log.warning("no farewell", reason=str(first_of(group, RelayError)))
        self._book.update(status="stopped", ready=False, reason=None, connection="closed")
        log.info("stopped", agent=session.agent_id)

    async def _replaced(self, agent: Agent) -> Exit:
        """Say who took over."""
        who = "a newer instance"
        with trio.move_on_after(FAREWELL):
            try:
                other = await self._relay.agent(agent.id)
                who = f"instance {other.instance_id}, epoch {other.epoch}, on {other.machine or 'an unnamed machine'}"
            except RelayError as error:
                log.info("cannot tell who replaced us", reason=str(error))
        log.error("replaced", agent=agent.id, by=who)
        self._book.update(status="replaced", ready=False, reason=f"replaced by {who}", connection="closed")
        return Exit.REPLACED

    def _refused(self, error: RelayError) -> Exit:
        log.error("the relay refuses this agent", reason=error.detail, code=error.code)
        self._book.update(status="refused", ready=False, reason=error.detail, connection="closed")
        return Exit.REFUSED
