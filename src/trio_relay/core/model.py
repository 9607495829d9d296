"""The words of the relay: statuses, verdicts, rungs of the delivery ladder.

Plain string enums, because they travel as strings on the wire and stand as strings in the store.
"""

from enum import StrEnum


class AgentStatus(StrEnum):
    """What an agent says of itself. ``offline`` agents are skipped by fan-out targets."""

    ONLINE = "online"
    IDLE = "idle"
    BUSY = "busy"
    OFFLINE = "offline"


class Verdict(StrEnum):
    """What the sender may expect of one recipient at the instant of sending."""

    LIVE_IDLE = "live_idle"
    LIVE_BUSY = "live_busy"
    DEAF = "deaf"
    OFFLINE_QUEUED = "offline_queued"


class Rung(StrEnum):
    """The delivery ladder of one message for one recipient. Nothing is reported that was not seen.

    ``accepted``: durable in the store. ``queued``: in the recipient's inbox. ``handed_off``: the recipient's
    program took it. ``in_context``: proven in the model's context. ``answered``: a reply is linked.
    ``settled``: the recipient is done with it. The last three are the other ways a delivery can end.
    """

    ACCEPTED = "accepted"
    QUEUED = "queued"
    HANDED_OFF = "handed_off"
    IN_CONTEXT = "in_context"
    ANSWERED = "answered"
    SETTLED = "settled"
    EXPIRED = "expired"
    RETRACTED = "retracted"
    DEAD = "dead"


class Authority(StrEnum):
    """Whose word a message is, as the relay attests it from the credential. A peer's text is data, not an order."""

    HUMAN = "human"
    OPERATOR = "operator"
    PEER = "peer"
    INTEGRATION = "integration"


#: The relay's own name as a sender: expiries, parked threads, ended pairs.
SYSTEM = "system"
#: The rig of a mailbox that a person or a script has at the command line.
MAILBOX_RIG = "cli"
#: The instance of every agent in a room restored from a backup: whoever speaks for one registers again first.
RESTORED = "restored"
#: A message type that proves the way to a session without waking its model.
CANARY = "canary"
#: Message types that never wake anybody: they lie in the inbox until their reader looks.
SILENT_TYPES = frozenset({"ack", "reaction"})


class Delivery(StrEnum):
    """How a message asks to be put into a live Codex thread (``meta.delivery``). docs/delivery.md says what each means.

    ``fyi``: into the history, waking nobody. ``digest``: with others of its kind, at most once a window. ``idle``: into
    Codex's own queue. ``steer``: into the running turn. ``interrupt``: the running turn is stopped for it, if its
    authority may do that. ``start``: a turn of its own, once none runs.
    """

    FYI = "fyi"
    DIGEST = "digest"
    IDLE = "idle"
    STEER = "steer"
    INTERRUPT = "interrupt"
    START = "start"
