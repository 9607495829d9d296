"""Trouble in which a message would be wasted: it is held back, and senders see why, until the trouble is over.

=============================================== ==================================================================
what                                            until
=============================================== ==================================================================
a turn failed for want of quota, a login, or a  a turn completes, or else a pause that doubles with each such turn:
provider that answers                           then the next messages try, and the others wait for how they fare
the running turn takes no text (a review, a     that turn ends
compaction)
=============================================== ==================================================================

Other failures (a bad request, a stream that broke off) say nothing about the next message.
"""

import math

import structlog

from trio_relay.codex.protocol import CallFailed, TurnEnded
from trio_relay.core.prompts import line
from trio_relay.sidecar.status import Situation

log = structlog.get_logger(__name__)

#: Pauses before the next message is tried, seconds.
FIRST_PAUSE = 30.0
LONGEST_PAUSE = 600.0
#: How long the others wait for what is tried after a pause: a turn that runs so long has a provider. Seconds.
_TRIAL = 60.0
#: What Codex 0.169 calls failures that the next turn would meet as well, and what to call them.
_LASTING = {
    "usageLimitExceeded": "Codex has used up its quota",
    "sessionBudgetExceeded": "Codex has used up its budget",
    "unauthorized": "Codex is not logged in",
    "serverOverloaded": "the model's provider is overloaded",
}
_BY_STATUS = {
    "401": "Codex is not logged in",
    "403": "the model's provider refuses Codex",
    "429": "the model's provider takes no more requests now",
}


def lasting_failure(ended: TurnEnded) -> str | None:
    """Say what a turn failed of, if the next would fail of it as well."""
    word, _, status = (ended.failure or "").partition(" ")
    what = _LASTING.get(word) or _BY_STATUS.get(status)
    if what is None or ended.status != "failed":
        return None
    return f"{what}: {line(ended.error)[:200]}" if ended.error else what


class Trouble:
    """The trouble of one registration. Times are trio's."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._until = -math.inf
        self._closed_turn = False
        self._failures = 0

    def turn_ended(self, ended: TurnEnded, now: float) -> None:
        """Take in how a turn ended."""
        reason = lasting_failure(ended)
        if reason is not None:
            self._failures += 1
            pause = min(FIRST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE)
            self._begin(reason, now + pause)
        elif ended.status == "completed":
            self._failures = 0
            self._end()

    def refused(self, error: CallFailed) -> bool:
        """Take in a refusal; whether it is of a turn that takes no text."""
        kind = error.closed_turn
        if kind is None:
            return False
        self._closed_turn = True
        self._begin(f"a {kind} runs and takes no messages", math.inf)
        return True

    def holds(self, now: float, *, active: bool) -> float:
        """Say until when messages are held back: a time that has passed if they are not."""
        if self._until > now and not (self._closed_turn and not active):
            return self._until
        self._end()
        return self._until

    def handed_off(self, now: float) -> None:
        """Note that something was handed off: after a pause it is a trial, and what follows waits for its outcome."""
        if self._failures and self._until <= now:
            self._until = now + _TRIAL

    def _begin(self, reason: str, until: float) -> None:
        log.warning("messages are held back", reason=reason)
        self._until = until
        self._situation.trouble(reason)

    def _end(self) -> None:
        self._until, self._closed_turn = -math.inf, False
        self._situation.trouble(None)
