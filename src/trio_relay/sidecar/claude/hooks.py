"""What each hook of the session means: books, presence, receipts, and what the hook says in answer.

Nothing here waits for the relay, but for the one hook that a person answers (PermissionRequest).
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import structlog
import trio

from trio_relay.claude import events
from trio_relay.claude.events import SILENCE, Answer, Event
from trio_relay.claude.gate import Situation, before_tool
from trio_relay.claude.ledger import Entry, Ledger
from trio_relay.claude.notices import introduction, notice, numbers_in
from trio_relay.claude.status_file import Activity
from trio_relay.core.model import Rung
from trio_relay.sidecar.claude.outlet import Outlet, Waiters
from trio_relay.sidecar.claude.presence import Presence
from trio_relay.sidecar.claude.reports import Reports
from trio_relay.sidecar.claude.socket_server import Told
from trio_relay.sidecar.claude.whoami import Identity
from trio_relay.supervise import Doorbell

log = structlog.get_logger(__name__)

#: Ends of a session after which its process goes on (SessionEnd's ``reason``).
_GOES_ON = frozenset({"clear", "resume"})
#: How a tool is called whose output may be a message: ours, over MCP under whatever name of the server.
_READING_TOOLS = ("read_message",)


@dataclass(slots=True)
class Sitting:
    """One Claude Code process with its session, as long as the keeper lives; registrations come and go below it.

    `bell` wakes who announces; `turn_over` hears how each turn ended and what is over with it; `away` says why the relay cannot be reached.
    """

    me: Identity
    bell: Doorbell
    presence: Presence
    ledger: Ledger
    reports: Reports
    outlet: Outlet
    stop: Callable[[], None]
    turn_over: Callable[[str, Iterable[Entry]], None]
    ask_person: Callable[[Event], Awaitable[Answer]]
    withdraw: Callable[[Event | None, str], None]
    away: str | None = None
    introduced: set[str] = field(default_factory=set)

    async def hear(self, told: Told) -> Answer:
        """Take in one hook and answer it."""
        event = events.parse(told.input)
        if told.event == "wait":
            return await self._wait()
        if event.agent_id is not None:  # a subagent does not change what the session does
            return await self._of_subagent(event)
        handle = _HANDLERS.get(told.event)
        if handle is None:
            await trio.lowlevel.checkpoint()
            return SILENCE
        return await handle(self, event)

    async def _wait(self) -> Answer:
        if isinstance(self.outlet, Waiters):
            return await self.outlet.wait()
        await trio.lowlevel.checkpoint()
        return SILENCE

    async def _of_subagent(self, event: Event) -> Answer:
        if event.hook_event_name == "PermissionRequest":
            return await self.ask_person(event)
        await trio.lowlevel.checkpoint()
        if event.hook_event_name == "PreToolUse":
            return self._gate(event)
        if event.hook_event_name == "PostToolUse":
            self._look_for_texts(event)
        return SILENCE

    async def session_start(self, event: Event) -> Answer:
        """A session begins, or the process goes on to another, or its context was compacted: tell it who it is."""
        await trio.lowlevel.checkpoint()
        self.presence.moves_to(event.session_id, event.model)
        if event.source != "compact":
            self.presence.is_doing(Activity.IDLE)
        log.info("session", session=event.session_id, source=event.source)
        self.introduced.add(event.session_id)
        answer = events.context("SessionStart", self._introduction())
        return Answer(out=answer.out, env={"AGENT_RELAY_CLAUDE_AGENT": self.me.agent_id})

    def _introduction(self) -> str:
        return introduction(self.me.introduction(), away=self.away)

    async def prompt(self, event: Event) -> Answer:
        """A turn begins, or an event joins the one that runs."""
        await trio.lowlevel.checkpoint()
        begins = self.presence.activity is Activity.IDLE
        if event.session_id != self.presence.session_id:
            self.presence.moves_to(event.session_id, None)
        shown = [] if event.is_typed else self.ledger.shown(numbers_in(event.prompt))
        self.presence.relayed = bool(shown) or (self.presence.relayed and not begins and not event.is_typed)
        self.presence.is_doing(Activity.BUSY)
        if event.is_typed:
            self.withdraw(None, "the session went on")
        told = []
        if event.session_id not in self.introduced:
            self.introduced.add(event.session_id)
            told.append(self._introduction())
        patient = self.ledger.waiting_for_a_prompt()
        for entry in patient:
            told.append(notice(entry.message, self.me.agent_id))
            self.reports.post(entry.message.id, Rung.HANDED_OFF, by="UserPromptSubmit")
        self.ledger.told(patient, trio.current_time())
        self.ledger.shown(entry.message.id for entry in patient)
        return events.context("UserPromptSubmit", "\n".join(told)) if told else SILENCE

    async def pre_tool(self, event: Event) -> Answer:
        """A tool is about to be used."""
        await trio.lowlevel.checkpoint()
        self.presence.is_doing(Activity.BUSY)
        return self._gate(event)

    def _gate(self, event: Event) -> Answer:
        now = Situation(self.me.agent_id, self.me.approval, self.presence.relayed)
        return before_tool(event, now)

    async def post_tool(self, event: Event) -> Answer:
        """A tool has answered: what was asked about it is answered, and it may have shown a message."""
        await trio.lowlevel.checkpoint()
        self.withdraw(event, "answered at the session's own screen")
        self._look_for_texts(event)
        return SILENCE

    def _look_for_texts(self, event: Event) -> None:
        command = event.command
        ours = command is not None and ("trio-relay" in command or "agent-relay" in command)
        if not ours and not event.tool_name.endswith(_READING_TOOLS):
            return
        asked = command or str(event.tool_input.get("message_id", ""))
        for entry in self.ledger.fetched_in(asked, event.output):
            self.presence.relayed = True
            log.info("fetched", message=entry.message.id, tool=event.tool_name)
            evidence = {"by": "PostToolUse", "tool": event.tool_name, "toolUseId": event.tool_use_id}
            told = {name: value for name, value in evidence.items() if value is not None}
            self.reports.post(entry.message.id, Rung.IN_CONTEXT, sessionId=event.session_id, **told)

    async def permission_request(self, event: Event) -> Answer:
        """A question is on the screen."""
        self.presence.is_doing(Activity.WAITING)
        return await self.ask_person(event)

    async def notification(self, event: Event) -> Answer:
        """Claude Code wants its person's attention."""
        await trio.lowlevel.checkpoint()
        if event.notification_type == "permission_prompt":
            self.presence.is_doing(Activity.WAITING)
        elif event.notification_type == "idle_prompt":
            self.presence.is_doing(Activity.IDLE)
        return SILENCE

    async def turn_ends(self, event: Event) -> Answer:
        """The turn is over."""
        await trio.lowlevel.checkpoint()
        self.end_of_turn("completed" if event.hook_event_name == "Stop" else "failed")
        return SILENCE

    def end_of_turn(self, how: str) -> None:
        """A turn has ended: what was fetched in it is over."""
        self.presence.is_doing(Activity.IDLE)
        self.presence.relayed = False
        self.withdraw(None, "the turn is over")
        self.turn_over(how, self.ledger.turn_over())

    async def session_end(self, event: Event) -> Answer:
        """The session is over, and with it, most times, the process."""
        await trio.lowlevel.checkpoint()
        if event.reason not in _GOES_ON:
            self.stop()
        return SILENCE


_HANDLERS: dict[str, Callable[[Sitting, Event], Awaitable[Answer]]] = {
    "SessionStart": Sitting.session_start,
    "UserPromptSubmit": Sitting.prompt,
    "PreToolUse": Sitting.pre_tool,
    "PostToolUse": Sitting.post_tool,
    "PostToolUseFailure": Sitting.post_tool,
    "PermissionRequest": Sitting.permission_request,
    "Notification": Sitting.notification,
    "Stop": Sitting.turn_ends,
    "StopFailure": Sitting.turn_ends,
    "SessionEnd": Sitting.session_end,
}
