"""The relay over HTTP: one method an API call. Calls that fewer programs make stand in modules of their own.

On trio and on asyncio; `Connection` says how errors arrive.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from trio_relay.client.connection import Connection
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import (
    Agent,
    AgentRegistration,
    ClaimedMessage,
    ClaimRequest,
    Cursor,
    InboxMessage,
    LabelChange,
    Message,
    ReadMark,
    ReadyChange,
    Receipt,
    ReceiptReport,
    SendRequest,
    SentMessage,
    SessionFields,
    Stats,
    StatusChange,
    TagsChange,
)
from trio_relay.core.wire_access import Caller
from trio_relay.errors import ConnectionLost


class RelayClient(Connection):
    """A relay, as a client sees it. Use `RelayClient.open`."""

    async def whoami(self) -> Caller:
        """Who this client is to the relay: what its token may do, and the agent it is bound to."""
        return await self.call("GET", "/api/whoami", Caller)

    # Agents

    async def register(self, registration: AgentRegistration) -> Agent:
        """Register an agent, or register it again; the answer carries the epoch."""
        return await self.call("POST", "/api/agents", Agent, body=registration)

    async def heartbeat(self, agent_id: str, session: SessionFields | None = None) -> Agent:
        """Say that the agent lives."""
        return await self.call(
            "POST", f"{_agent(agent_id)}/heartbeat", Agent, body=session or SessionFields()
        )

    async def set_status(
        self, agent_id: str, status: AgentStatus, session: SessionFields | None = None
    ) -> Agent:
        """Say what the agent is doing."""
        body = StatusChange(status=status, **_fields(session))
        return await self.call("PATCH", f"{_agent(agent_id)}/status", Agent, body=body)

    async def set_ready(
        self, agent_id: str, ready: bool, session: SessionFields | None = None, reason: str | None = None
    ) -> Agent:
        """Say whether the agent can take messages, and if not, why."""
        body = ReadyChange(ready=ready, reason=reason, **_fields(session))
        return await self.call("PATCH", f"{_agent(agent_id)}/ready", Agent, body=body)

    async def set_label(self, agent_id: str, label: str | None) -> Agent:
        """Set the agent's label; None clears it."""
        return await self.call("PATCH", f"{_agent(agent_id)}/label", Agent, body=LabelChange(label=label))

    async def set_tags(
        self,
        agent_id: str,
        tags: Sequence[str] | None = None,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
    ) -> Agent:
        """Replace the agent's tags, or add and remove some."""
        body = TagsChange(tags=None if tags is None else list(tags), add=list(add), remove=list(remove))
        return await self.call("PATCH", f"{_agent(agent_id)}/tags", Agent, body=body)

    async def agents(self, **filters: Any) -> list[Agent]:
        """Everyone who matches the filters (status, tag, cap, label, machine, ready, thread)."""
        return await self.call("GET", "/api/agents", list[Agent], query=filters)

    async def agent(self, agent_id: str) -> Agent:
        """One agent."""
        return await self.call("GET", _agent(agent_id), Agent)

    async def remove_agent(self, agent_id: str) -> None:
        """Remove an agent."""
        await self.call("DELETE", _agent(agent_id), dict[str, Any])

    # Messages

    async def send(self, request: SendRequest) -> SentMessage:
        """Send a message. When this returns the message is durable, and the verdicts say who gets it."""
        return await self.call("POST", "/api/messages", SentMessage, body=request)

    async def inbox(
        self,
        agent_id: str,
        *,
        unread: bool = True,
        since_id: int | None = None,
        after_seq: int | None = None,
        state: Rung | None = None,
        wait: float | None = None,
        limit: int = 100,
        watch: Iterable[int] = (),
    ) -> list[InboxMessage]:
        """What is in the inbox, oldest first; with `wait` seconds (at most 60), once there is something.

        Before that, those of the messages in `watch` (about a hundred, at most) that have lost their point.
        """
        query = {
            "for": agent_id,
            "unread": unread,
            "sinceId": since_id,
            "afterSeq": after_seq,
            "state": state,
            "wait": wait,
            "limit": limit,
            "watch": ",".join(map(str, watch)) or None,
        }
        return await self.call("GET", "/api/messages", list[InboxMessage], query=query, patience=wait or 0.0)

    async def browse(self, **filters: Any) -> list[Message]:
        """History, newest first (filters from, to, channel, thread, before, limit)."""
        return await self.call("GET", "/api/messages", list[Message], query=filters)

    async def cursor(self) -> Cursor:
        """The newest message id and arrival number."""
        return await self.call("GET", "/api/messages/cursor", Cursor)

    async def message(self, message_id: int) -> Message:
        """One message."""
        return await self.call("GET", _message(message_id), Message)

    async def thread(self, message_id: int) -> list[Message]:
        """The whole reply chain of a message, oldest first."""
        return await self.call("GET", f"{_message(message_id)}/thread", list[Message])

    async def mark_read(
        self, message_id: int, agent_id: str, session: SessionFields | None = None
    ) -> Message:
        """Say that this recipient is done with a message."""
        body = ReadMark(read_by=agent_id, **_fields(session))
        return await self.call("PATCH", _message(message_id), Message, body=body)

    async def delete(self, message_id: int) -> None:
        """Remove a message from history."""
        await self.call("DELETE", _message(message_id), dict[str, Any])

    # Receipts and claims

    async def receipts(self, message_id: int) -> list[Receipt]:
        """The delivery ladder of every recipient."""
        return await self.call("GET", f"{_message(message_id)}/receipts", list[Receipt])

    async def report(
        self,
        message_id: int,
        agent_id: str,
        state: Rung,
        evidence: dict[str, Any],
        session: SessionFields | None = None,
    ) -> Receipt:
        """Report a rung that was seen; repeating a report is safe."""
        body = ReceiptReport(agent_id=agent_id, state=state, evidence=evidence, **_fields(session))
        return await self.call("POST", f"{_message(message_id)}/receipts", Receipt, body=body)

    async def claim(
        self,
        message_id: int,
        agent_id: str,
        session: SessionFields | None = None,
        ttl_ms: int | None = None,
    ) -> ClaimedMessage:
        """Claim a message; the holder that asks again gets its own lease back, for `ttl_ms` from now."""
        body = ClaimRequest(agent_id=agent_id, ttl_ms=ttl_ms, **_fields(session))
        return await self.call("POST", f"{_message(message_id)}/claim", ClaimedMessage, body=body)

    async def renew(
        self,
        message_id: int,
        agent_id: str,
        lease_token: str,
        session: SessionFields | None = None,
        ttl_ms: int | None = None,
    ) -> ClaimedMessage:
        """Keep a claim, for `ttl_ms` from now."""
        body = ClaimRequest(agent_id=agent_id, lease_token=lease_token, ttl_ms=ttl_ms, **_fields(session))
        return await self.call("POST", f"{_message(message_id)}/claim/renew", ClaimedMessage, body=body)

    async def release(
        self, message_id: int, agent_id: str, lease_token: str | None, session: SessionFields | None = None
    ) -> Message:
        """Give a claim back; without its token the holder's name and session decide."""
        body = ClaimRequest(agent_id=agent_id, lease_token=lease_token, **_fields(session))
        return await self.call("POST", f"{_message(message_id)}/claim/release", Message, body=body)

    async def complete(
        self,
        message_id: int,
        agent_id: str,
        lease_token: str | None,
        result: Any = None,
        session: SessionFields | None = None,
    ) -> Message:
        """Complete the claimed work; without its token the holder's name and session decide."""
        body = ClaimRequest(agent_id=agent_id, lease_token=lease_token, result=result, **_fields(session))
        return await self.call("POST", f"{_message(message_id)}/claim/complete", Message, body=body)

    # The relay itself

    async def stats(self) -> Stats:
        """Counts, version, uptime."""
        return await self.call("GET", "/api/stats", Stats)

    async def ready(self) -> bool:
        """Whether the relay can serve now."""
        try:
            await self.call("GET", "/readyz", dict[str, Any])
        except ConnectionLost:
            return False
        return True


def _fields(session: SessionFields | None) -> dict[str, Any]:
    return {} if session is None else {"instance_id": session.instance_id, "epoch": session.epoch}


def _agent(agent_id: str) -> str:
    return f"/api/agents/{quote(agent_id, safe='')}"


def _message(message_id: int) -> str:
    return f"/api/messages/{message_id}"
