"""Callbacks: when to try again, and how a receiver can tell that one is ours."""

import hashlib
import hmac
from collections.abc import Callable, Mapping

#: Attempts a callback is given before it is dead.
MAX_ATTEMPTS = 10
_FIRST_PAUSE = 10_000
_FACTOR = 3


def pause_after(attempt: int, chance: Callable[[], float]) -> int | None:
    """Milliseconds to wait after the failed attempt number `attempt` (from 1), or None: it was the last.

    10 s, 30 s, 90 s and so on, each cut by up to a half at random, so that a receiver that comes back is not met by
    everything at once. Ten attempts span 14 to 27 hours.
    """
    if attempt >= MAX_ATTEMPTS:
        return None
    step: int = _FIRST_PAUSE * _FACTOR ** (attempt - 1)
    return round(step * (0.5 + chance() / 2))


def signed_headers(secret: str, *, delivery: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers a callback carries: which delivery it is, when it was signed (Unix ms) and the signature.

    The signature is the HMAC-SHA256 of ``timestamp + "." + body`` under `secret`, in hex. A receiver compares it in
    constant time, refuses old timestamps, and drops a delivery id it has already handled.
    """
    signature = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "X-Trio-Relay-Delivery": delivery,
        "X-Trio-Relay-Timestamp": str(timestamp),
        "X-Trio-Relay-Signature": f"sha256={signature}",
    }
