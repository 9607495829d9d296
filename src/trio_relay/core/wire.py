"""What travels over HTTP: one struct an object of the API, camelCase names, times in integer Unix milliseconds.

The reference product's clients (agent-relay 0.4.x) send extra fields; unknown fields are ignored here. Types are
strict: ``"5"`` is no integer. Both the server and the client decode with these structs, so they cannot disagree.
"""

from typing import Annotated, Any

import msgspec

from trio_relay.core.model import AgentStatus, Rung, Verdict

AgentId = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Names = Annotated[list[Name], msgspec.Meta(max_length=100)]
InstanceId = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Epoch = Annotated[int, msgspec.Meta(ge=0)]
#: What a 64-bit integer column can hold.
MessageId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Wire(msgspec.Struct, rename="camel", kw_only=True):
    """Base: camelCase on the wire, keyword-only in Python."""


class SessionFields(Wire, kw_only=True):
    """Who is calling: `instanceId` and `epoch` as the registration answered them. Core clients omit both."""

    instance_id: InstanceId | None = None
    epoch: Epoch | None = None


class AgentRegistration(Wire, kw_only=True):
    """Body of ``POST /agents``: register, or register again under the same id."""

    id: AgentId
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    label: Name | None = None
    machine: Annotated[str, msgspec.Meta(max_length=200)] = ""
    rig: Annotated[str, msgspec.Meta(max_length=200)] = ""
    tags: Names = []
    capabilities: Names = []
    status: AgentStatus = AgentStatus.ONLINE
    ready: bool | None = None
    instance_id: InstanceId | None = None
    meta: dict[str, Any] = {}


class Agent(Wire, kw_only=True):
    """An agent as the relay knows it. `ready` says whether it can take a message now, `readyReason` why not."""

    id: str
    name: str
    label: str | None
    machine: str
    rig: str
    tags: list[str]
    capabilities: list[str]
    channels: list[str]
    status: AgentStatus
    ready: bool
    ready_reason: str | None
    instance_id: str | None
    epoch: int
    meta: dict[str, Any]
    created_at: int
    updated_at: int
    last_seen: int


class Heartbeat(SessionFields, kw_only=True):
    """Body of ``POST /agents/:id/heartbeat``; may be empty."""


class StatusChange(SessionFields, kw_only=True):
    """Body of ``PATCH /agents/:id/status``."""

    status: AgentStatus


class ReadyChange(SessionFields, kw_only=True):
    """Body of ``PATCH /agents/:id/ready``; `reason` says why an agent is not ready."""

    ready: bool
    reason: Annotated[str, msgspec.Meta(max_length=500)] | None = None


class LabelChange(SessionFields, kw_only=True):
    """Body of ``PATCH /agents/:id/label``; null clears it."""

    label: Name | None


class TagsChange(SessionFields, kw_only=True):
    """Body of ``PATCH /agents/:id/tags``: the whole list, or what to add and remove."""

    tags: Names | None = None
    add: Names = []
    remove: Names = []


class SendRequest(Wire, kw_only=True):
    """Body of ``POST /messages``.

    `to` is an agent id, ``tag:NAME``, ``cap:NAME``, ``label:NAME`` or ``broadcast``. `idempotencyKey` (per sender,
    24 h): the same key and content answer with the same message. `allowUnknown` parks a message to an agent id
    nobody has registered yet instead of refusing it. After `ttlMs` it is not delivered any more; `supersedes` withdraws
    an older message of the same sender from those who do not have it yet; a newer message with the same `collapseKey`
    from the same sender takes the place of an older one in each inbox.
    """

    sender: AgentId = msgspec.field(name="from")
    to: AgentId
    body: str
    subject: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    channel: Name | None = None
    reply_to: MessageId | None = None
    claimable: bool = False
    type: Name | None = None
    meta: dict[str, Any] = {}
    idempotency_key: Name | None = None
    allow_unknown: bool = False
    ttl_ms: Annotated[int, msgspec.Meta(ge=1, le=30 * 86_400_000)] | None = None
    supersedes: MessageId | None = None
    collapse_key: Name | None = None


class Message(Wire, kw_only=True):
    """A message as everyone sees it. `threadId` is the id of the first message of its reply chain.

    `authority` is the relay's own word about the sender (human, operator, peer, integration), from the credential it
    was sent with, never from its text. `withdrawn` says why the rest of the recipients will not get it.
    """

    id: int
    sender: str = msgspec.field(name="from")
    to: str
    channel: str | None
    subject: str | None
    body: str
    reply_to: int | None
    thread_id: int
    claimable: bool
    claimed_by: str | None = None
    claimed_at: int | None = None
    claim_expires_at: int | None = None
    type: str
    meta: dict[str, Any]
    created_at: int
    root_id: int
    hop: int
    authority: str = "peer"
    expires_at: int | None = None
    supersedes: int | None = None
    collapse_key: str | None = None
    withdrawn: str | None = None


class InboxMessage(Message, kw_only=True):
    """A message in one agent's inbox.

    `inboxSeq` grows with every arrival in any inbox: poll with ``afterSeq`` = the highest seen. It differs from
    the message id where a message reaches an inbox late (parked, or a claimable offered to a newcomer).
    `state` is this recipient's rung, `attempts` the number of hand-offs so far.
    """

    inbox_seq: int
    state: Rung
    attempts: int
    read_at: int | None = None


class RecipientVerdict(Wire, kw_only=True):
    """What to expect of one recipient of a message just sent."""

    agent_id: str
    verdict: Verdict


class SentMessage(Message, kw_only=True):
    """Answer of ``POST /messages``: the message, who gets it, and whether it waits.

    `parked` without a reason: for somebody to match. `parkedReason`: its thread is parked for a person.
    """

    recipients: list[RecipientVerdict]
    parked: bool
    parked_reason: str | None = None


class ReceiptReport(SessionFields, kw_only=True):
    """Body of ``POST /messages/:id/receipts``, sent by a recipient's program. `evidence` holds ids, never text."""

    agent_id: AgentId
    state: Rung
    evidence: dict[str, Any] = {}


class ReceiptStep(Wire, kw_only=True):
    """One rung that was reached: when, and what proves it."""

    state: Rung
    at: int
    evidence: dict[str, Any]


class Receipt(Wire, kw_only=True):
    """The ladder of one message for one recipient."""

    agent_id: str
    state: Rung
    attempts: int
    steps: list[ReceiptStep]


class ReadMark(SessionFields, kw_only=True):
    """Body of ``PATCH /messages/:id``."""

    read_by: AgentId


class ClaimRequest(SessionFields, kw_only=True):
    """Body of claim, renew, release and complete. `leaseToken` is the one the last claim or renewal returned."""

    agent_id: AgentId
    lease_token: str | None = None
    ttl_ms: Annotated[int, msgspec.Meta(ge=1_000, le=3_600_000)] | None = None
    result: Any = None


class ClaimedMessage(Message, kw_only=True):
    """Answer of claim and renew: the message with its lease."""

    lease_token: str
    lease_epoch: int
    attempt: int


class Cursor(Wire, kw_only=True):
    """Answer of ``GET /messages/cursor``."""

    latest_id: int
    latest_seq: int


class Stats(Wire, kw_only=True):
    """Answer of ``GET /stats``. `uptimeMs` counts from the start of this relay process, which is `node`."""

    version: str
    uptime_ms: int
    agents: dict[str, int]
    messages: int
    deliveries: dict[str, int]
    parked: int
    #: ``sqlite`` or ``postgresql``.
    store: str = ""
    node: str = ""


class Health(Wire, kw_only=True):
    """Answer of ``/healthz``."""

    status: str
    version: str


class Readiness(Health, kw_only=True):
    """Answer of ``/readyz``: which process is ready, and on what (``sqlite`` or ``postgresql``)."""

    node: str
    store: str


class Problem(Wire, kw_only=True):
    """RFC 9457 problem details; `code` is stable, `error` repeats `detail` for agent-relay 0.4 clients."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    code: str = ""
    error: str = ""
    errors: list[dict[str, str]] = []
