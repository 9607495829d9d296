"""The keeper's tasks, by lifetime: the Claude Code process, then a registration with the relay.

```
process         stop on a signal · end with Claude Code · serve hooks · read the status file
  registration    poll · heartbeat · publish · report · announce · one task a claim
```

The keeper is the plugin's monitor where Claude Code has monitors, and is started by the waiter where it has none. It is
one a process (a lock says so), and as a monitor it never ends by itself: Claude Code starts none again (2.1.329).
"""

import os
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from enum import IntEnum
from functools import partial
from pathlib import Path

import structlog
import trio
from filelock import FileLock, Timeout

from trio_relay import __version__
from trio_relay.claude.ledger import Entry, Ledger
from trio_relay.claude.status_file import Activity, read_status
from trio_relay.client import RelayClient
from trio_relay.core.approval import Approval
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.timing import backoff
from trio_relay.core.wire import Agent, InboxMessage
from trio_relay.errors import RelayError, StaleInstance
from trio_relay.settings import AgentSettings, ClaudeSettings
from trio_relay.sidecar.claims import Claims
from trio_relay.sidecar.claude.approvals import Approvals
from trio_relay.sidecar.claude.deliver import Deliverer
from trio_relay.sidecar.claude.hooks import Sitting
from trio_relay.sidecar.claude.outlet import Monitor, Outlet, OutletGone, Waiters
from trio_relay.sidecar.claude.presence import Presence
from trio_relay.sidecar.claude.reports import Reports
from trio_relay.sidecar.claude.socket_server import converse, listening, make_private
from trio_relay.sidecar.claude.whoami import identify, settle_name
from trio_relay.sidecar.claude.world import World
from trio_relay.sidecar.session import PAGE, Session, Unregistered
from trio_relay.sidecar.state_file import State, StateFile
from trio_relay.sidecar.versions import note_relay
from trio_relay.supervise import Doorbell, first_of, insist, stop_on_signal

log = structlog.get_logger(__name__)

#: Seconds the last words to the relay may take: Claude Code waits for nobody when it ends.
FAREWELL = 2.0
#: Seconds the relay may hold a poll open.
WAIT = 25.0
#: Messages the relay is asked about in one poll: it takes about a hundred. The others show when they are announced.
_WATCHED = 100
#: Seconds between two looks at the status file, while a turn runs and while none does.
_BUSY_LOOKS, _IDLE_LOOKS = 0.5, 2.0
#: Seconds between two tries to become the keeper where another process is.
_STANDBY = 2.0


class Exit(IntEnum):
    """How a keeper ends, as its exit code."""

    STOPPED = 0
    REFUSED = 2
    REPLACED = 3


async def run_keeper(agent: AgentSettings, claude: ClaudeSettings, world: World, *, monitor: bool) -> int:
    """Keep one Claude Code session in the room until its process ends; the exit code (`Exit`).

    A `monitor` waits for the place where another keeper has it, and stays as long as Claude Code does whatever
    the relay says; without, it ends where it is not needed.
    """
    make_private(world.socket_path.parent)
    lock_file = world.socket_path.with_suffix(".lock")
    lock = FileLock(lock_file)
    code = Exit.STOPPED
    async with trio.open_nursery() as process:
        stop = process.cancel_scope.cancel
        if world.signals:
            await process.start(stop_on_signal, stop)
        process.start_soon(_end_with, world, stop)
        if await _taken(lock, wait=monitor):
            try:
                code = await _keep(Keeper(agent, claude, world, monitor=monitor), world, stop)
                if monitor and code is not Exit.STOPPED:
                    await trio.sleep_forever()
            finally:
                _forget(lock_file)
                lock.release()
        stop()
    return code


async def _keep(keeper: "Keeper", world: World, stop: Callable[[], None]) -> Exit:
    """Serve the session's hooks for as long as the keeper lives."""
    keeper.sitting.stop = stop
    async with listening(world.socket_path) as listener, trio.open_nursery() as hooks:
        hooks.start_soon(trio.serve_listeners, partial(converse, heard=keeper.sitting.hear), [listener])
        code = await keeper.live()
        hooks.cancel_scope.cancel()
    return code


async def _taken(lock: FileLock, *, wait: bool) -> bool:
    """Take the place of the keeper; False where it is taken and is not waited for."""
    while True:
        with suppress(Timeout):
            lock.acquire(timeout=0)
            return True
        if not wait:
            return False
        await trio.sleep(_STANDBY)


def _forget(lock: Path) -> None:
    """Remove the lock of a process that has ended, or is about to: its number may be another's next."""
    lock.unlink(missing_ok=True)


async def _end_with(world: World, stop: Callable[[], None]) -> None:
    await world.claude_ends()
    log.info("Claude Code has ended", pid=world.claude_pid)
    stop()


class Keeper:
    """One keeper. `live` is its life; `sitting` hears the hooks meanwhile."""

    def __init__(
        self,
        agent: AgentSettings,
        claude: ClaudeSettings,
        world: World,
        *,
        monitor: bool = False,
        outlet: Outlet | None = None,
    ) -> None:
        self._agent = agent
        self._claude = claude
        self._world = world
        self._delays = partial(
            backoff, claude.relay_backoff_initial, claude.relay_backoff_max, world.rng.random
        )
        instance_id = str(uuid.UUID(int=world.rng.getrandbits(128), version=4))
        status = read_status(world.status_path)
        session_id = world.session_id or status.session_id or instance_id
        me = identify(
            agent, claude, host=world.host, cwd=world.cwd, session_id=session_id, instance_id=instance_id
        )
        # A file that is still there is that of a keeper that was killed: this one takes its place.
        dead = StateFile.open(world.state_path, world.now).state
        self._succeeds = dead.agent_id is not None and dead.thread_id in {session_id, status.session_id}
        if self._succeeds:
            session_id = status.session_id or session_id
            me = replace(me, agent_id=dead.agent_id or me.agent_id)
        bell = Doorbell()
        outlet = outlet or (Monitor() if monitor else Waiters(bell))
        self._book = StateFile(world.state_path, State(), world.now)
        self._claims: Claims | None = None
        guarded = me.approval is Approval.GUARDED
        self._approvals = Approvals(
            wanted=claude.approvals == "on" or (claude.approvals == "auto" and guarded)
        )
        self.sitting = Sitting(
            me=me,
            bell=bell,
            presence=Presence(session_id, lambda: world.now() * 1000),
            ledger=Ledger(me.resolved.channels, claude.digest_window),
            reports=Reports(),
            outlet=outlet,
            stop=lambda: None,
            turn_over=self._turn_over,
            ask_person=self._approvals.ask,
            withdraw=self._approvals.withdraw,
        )
        self._registration: trio.Nursery | None = None
        if self._succeeds:
            self.sitting.presence.begins_as(status)

    async def live(self) -> Exit:
        """Keep the agent registered and its session served until stopped, refused or replaced."""
        try:
            async with self._world.open_relay() as relay, trio.open_nursery() as process:
                process.start_soon(self._read_status_file)
                code = await self._stay_registered(relay)
                process.cancel_scope.cancel()
        except* OutletGone:
            log.info("nobody reads the monitor any more")
            code = Exit.STOPPED
        finally:
            _forget(self._world.state_path)
        return code

    async def _read_status_file(self) -> None:
        """Task: hear what no hook says: that the person has pressed Esc, or answered a question."""
        presence = self.sitting.presence
        while True:
            before = presence.activity
            if presence.read(read_status(self._world.status_path)):
                if before is Activity.WAITING:
                    self._approvals.withdraw(None, "answered at the session's own screen")
                if presence.activity is Activity.IDLE:
                    log.info("the turn was interrupted")
                    self.sitting.end_of_turn("interrupted")
                self.sitting.bell.ring()
            idle = presence.activity is Activity.IDLE
            await trio.sleep(_IDLE_LOOKS if idle else _BUSY_LOOKS)

    async def _stay_registered(self, relay: RelayClient) -> Exit:
        """Register, again whenever the relay has forgotten us, and serve each registration to its end."""
        sitting, named = self.sitting, self._succeeds
        while True:
            try:
                if not named:
                    name = await insist(
                        partial(settle_name, relay, sitting.me, sitting.presence.session_id),
                        delays=self._delays,
                        on_failure=self._relay_away,
                    )
                    sitting.me, named = replace(sitting.me, agent_id=name), True
                agent = await insist(
                    partial(self._register, relay), delays=self._delays, on_failure=self._relay_away
                )
            except RelayError as error:
                return self._refused(error)
            sitting.away = None
            log.info("registered", agent=agent.id, epoch=agent.epoch)
            end = await self._serve(Session(relay, agent, self._delays), agent)
            if end is not None:
                return end
            log.warning("the relay has forgotten this agent, registering again", agent=agent.id)

    def _relay_away(self, error: Exception) -> None:
        if self.sitting.away != str(error):
            self.sitting.away = str(error)
            log.warning("relay is away", reason=str(error))

    async def _register(self, relay: RelayClient) -> Agent:
        presence = self.sitting.presence
        registration = self.sitting.me.registration(
            presence.wanted.status, presence.session_id, presence.model
        )
        agent = await relay.register(registration)
        self._keep(agent)
        await note_relay(relay, self._book)
        return agent

    def _keep(self, agent: Agent) -> None:
        """Write down who we are, for the commands that are run in this session."""
        self._book.update(
            agent_id=agent.id,
            instance_id=agent.instance_id,
            epoch=agent.epoch,
            relay_url=self._agent.relay_url,
            cwd=self._world.cwd,
            session=f"claude {self._world.claude_pid}",
            thread_id=self.sitting.presence.session_id,
            status=str(self.sitting.presence.wanted.status),
            versions={**self._book.state.versions, "keeper": __version__},
            pid=os.getpid(),
        )

    async def _serve(self, session: Session, agent: Agent) -> Exit | None:
        """Serve one registration to its end; None when the relay has forgotten it."""
        sitting = self.sitting
        sitting.presence.relay_said(agent)
        ended: RelayError | None = None
        try:
            async with trio.open_nursery() as registration:
                self._registration = registration
                self._approvals.begin(session, registration)
                every = self._claude.heartbeat_interval
                claims = self._claims = Claims(session, registration, every, offers=sitting.me.offers_work)
                registration.start_soon(self._heartbeat, session)
                registration.start_soon(
                    sitting.presence.publish, session, partial(self._register, session.relay)
                )
                registration.start_soon(sitting.reports.run, session)
                await registration.start(self._poll, session)
                sitting.presence.set_trouble(None)
                deliver = Deliverer(sitting, session, claims, self._claude.coalesce_window)
                registration.start_soon(deliver.run)
        except* (Unregistered, StaleInstance) as group:
            ended = first_of(group, RelayError)
        finally:
            self._claims = self._registration = None
            self._approvals.forget()
            if ended is None:
                await self._farewell(session)
        if isinstance(ended, Unregistered):
            return None
        assert ended is not None
        log.error("replaced", agent=agent.id)
        return Exit.REPLACED

    async def _heartbeat(self, session: Session) -> None:
        """Task: say that the agent lives."""
        while True:
            await trio.sleep(self._claude.heartbeat_interval)
            beat = partial(session.relay.heartbeat, session.agent_id, session=session.fields)
            self.sitting.presence.relay_said(await session.insist(beat))

    async def _poll(
        self, session: Session, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Task: take in what arrives, from what is there at the start."""
        sitting = self.sitting
        ledger = sitting.ledger
        unread = await session.everything()
        known = {message.id for message in unread}
        for message_id in ledger.in_hand:
            if message_id not in known:
                ledger.drop(message_id)
        ledger.recover(await session.everything(Rung.IN_CONTEXT), trio.current_time())
        self._take_in(unread, told=self._succeeds)
        cursor = max((message.inbox_seq for message in unread), default=0)
        task_status.started()
        while True:
            asked_at = trio.current_time()
            arrived = await session.insist(
                partial(
                    session.relay.inbox,
                    session.agent_id,
                    unread=True,
                    after_seq=cursor,
                    wait=WAIT,
                    limit=PAGE,
                    watch=ledger.in_hand[-_WATCHED:],
                )
            )
            for message in arrived:
                if message.inbox_seq <= cursor and ledger.drop(message.id):
                    log.info("withdrawn", message=message.id, state=message.state)
            if arrived:
                self._take_in([one for one in arrived if one.inbox_seq > cursor])
                cursor = max(cursor, arrived[-1].inbox_seq)
            elif trio.current_time() - asked_at < WAIT / 2:  # this relay holds no polls open, or is stopping
                await trio.sleep(2.0)

    def _take_in(self, messages: Iterable[InboxMessage], *, told: bool = False) -> None:
        for message, why in self.sitting.ledger.take_in(messages, trio.current_time(), told=told):
            self.sitting.reports.post(message.id, Rung.SETTLED, skipped=why)
        self.sitting.bell.ring()

    def _turn_over(self, how: str, over: Iterable[Entry]) -> None:
        """Settle what was fetched in a turn that has ended, and finish the claims on it."""
        self.sitting.bell.ring()
        for entry in over:
            if entry.message.claimable and self._registration is not None:
                self._registration.start_soon(self._finish, entry.message.id, how)
            else:
                self.sitting.reports.post(entry.message.id, Rung.SETTLED, turn=how)

    async def _finish(self, message_id: int, how: str) -> None:
        """Finish a claim with the turn, where the model has not done so itself."""
        claims, told = self._claims, "lost"
        if claims is None or claims.offers:
            told = "offered"
        elif claims.holds(message_id) and how == "completed":
            result = {"sessionId": self.sitting.presence.session_id}
            told = "completed" if await claims.complete(message_id, result) else "lost"
        elif claims.holds(message_id):
            await claims.release(message_id)
            told = "released"
        self.sitting.reports.post(message_id, Rung.SETTLED, turn=how, claim=told)

    async def _farewell(self, session: Session) -> None:
        """Say the last words, for a bounded time even when cancelled."""
        with trio.move_on_after(FAREWELL, shield=True):
            try:
                await self.sitting.reports.flush(session)
                await session.relay.set_status(session.agent_id, AgentStatus.OFFLINE, session=session.fields)
            except RelayError as error:
                log.warning("no farewell", reason=error.detail)
        log.info("stopped", agent=session.agent_id)

    def _refused(self, error: RelayError) -> Exit:
        self.sitting.away = error.detail
        log.error("the relay refuses this agent", reason=error.detail, code=error.code)
        return Exit.REFUSED
