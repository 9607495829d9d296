"""What Claude Code asks its person, asked through the relay as well; the first answer wins.

The question stays on the session's own screen all the while (2.1.329 runs the PermissionRequest hook beside the dialog).
Claude Code does not tell the hook that it was answered there: that is heard from the tool's own hook, from the end of the
turn or from the status file, and then the question is taken back from the relay.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import structlog
import trio

from trio_relay.claude.events import SILENCE, Answer, Event, denied, granted
from trio_relay.client import approvals
from trio_relay.core.prompts import line, plain
from trio_relay.core.wire_approvals import Approval, ApprovalRequest, ApprovalState, ApprovalWithdrawal
from trio_relay.errors import RelayError, StaleInstance
from trio_relay.sidecar.session import Session, Unregistered

log = structlog.get_logger(__name__)

#: How long a question stands, ms. After that the dialog alone remains.
_STANDS = 3_600_000
#: Seconds the relay may hold a question open in one call.
_WAIT = 50.0
_LONGEST_SUMMARY = 300
_LONGEST_DETAIL = 20_000


@dataclass(slots=True, eq=False)
class _Asked:
    event: Event
    scope: trio.CancelScope
    reason: str = "Claude Code asks no more"
    stands: bool = True


class Approvals:
    """The questions of one session. `wanted`: whether they are asked through the relay at all."""

    def __init__(self, *, wanted: bool) -> None:
        self._session: Session | None = None
        self._nursery: trio.Nursery | None = None
        self._wanted = wanted
        self._asked: list[_Asked] = []

    async def ask(self, event: Event) -> Answer:
        """Ask a person through the relay: what to answer Claude Code, nothing where it is answered elsewhere."""
        session = self._session
        if not self._wanted or session is None:
            await trio.lowlevel.checkpoint()
            return SILENCE
        asked = _Asked(event, trio.CancelScope())
        self._asked.append(asked)
        question = partial(approvals.ask, session.relay, _request(event, session))
        approval: Approval | None = None
        try:
            with asked.scope:
                approval = await session.insist(question)
                log.info("asked", approval=approval.id, tool=event.tool_name)
                while approval.state is ApprovalState.PENDING:
                    wait = partial(approvals.get_approval, session.relay, approval.id, wait=_WAIT)
                    approval = await session.insist(wait)
                log.info("answered", approval=approval.id, state=approval.state)
                return _answer(approval)
        except (
            RelayError
        ) as refusal:  # an older relay, or one that will not: the person at the screen is asked
            log.warning("not asked through the relay", code=refusal.code)
        finally:
            self._asked.remove(asked)
            if asked.stands and self._nursery is not None:
                self._nursery.start_soon(_take_back, session, question, approval, asked.reason)
        return SILENCE

    def withdraw(self, event: Event | None, reason: str) -> None:
        """Take back what was asked about this use of a tool, or everything: there is an answer elsewhere."""
        for asked in self._asked:
            same = event is None or (
                (asked.event.tool_name, asked.event.tool_input) == (event.tool_name, event.tool_input)
            )
            if same:
                asked.reason = reason
                asked.scope.cancel()

    def begin(self, session: Session, nursery: trio.Nursery) -> None:
        """Ask in this registration, whose tasks run in `nursery`."""
        self._session, self._nursery = session, nursery

    def forget(self) -> None:
        """Ask no more in this registration: the relay takes back what an agent asked that goes offline or is forgotten."""
        self._session = self._nursery = None
        for asked in self._asked:
            asked.stands = False
            asked.scope.cancel()


async def _take_back(
    session: Session,
    question: Callable[[], Awaitable[Approval]],
    approval: Approval | None,
    reason: str,
) -> None:
    """Take a question back; where its asking was interrupted, asking again says which one it is."""
    body = ApprovalWithdrawal(
        agent_id=session.agent_id,
        reason=reason,
        instance_id=session.fields.instance_id,
        epoch=session.fields.epoch,
    )
    try:
        known = await session.insist(question) if approval is None else approval
        await session.insist(partial(approvals.withdraw, session.relay, known.id, body))
    except (StaleInstance, Unregistered):
        raise
    except RelayError as error:  # it was answered in this very moment
        log.info("not taken back", code=error.code)


def _request(event: Event, session: Session) -> ApprovalRequest:
    return ApprovalRequest(
        agent_id=session.agent_id,
        tool=event.tool_name or "tool",
        summary=summary(event),
        detail=plain(_detail(event.tool_input))[:_LONGEST_DETAIL],
        ttl_ms=_STANDS,
        key=str(uuid.uuid4()),
        instance_id=session.fields.instance_id,
        epoch=session.fields.epoch,
    )


def summary(event: Event) -> str:
    """Say in one line what a tool is to do."""
    told = next(
        (
            value
            for name in ("command", "file_path", "notebook_path", "url", "description")
            if isinstance(value := event.tool_input.get(name), str) and value.strip()
        ),
        "",
    )
    text = line(f"{event.tool_name or 'a tool'}: {told.strip()}" if told else event.tool_name or "a tool")
    return text if len(text) <= _LONGEST_SUMMARY else text[: _LONGEST_SUMMARY - 1] + "…"


def _detail(tool_input: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(tool_input), indent=2).decode()


def _answer(approval: Approval) -> Answer:
    if approval.state is ApprovalState.ALLOWED:
        return granted()
    if approval.state is ApprovalState.DENIED:
        return denied(
            f"A person has denied it through the relay{f': {approval.reason}' if approval.reason else '.'}"
        )
    return SILENCE
