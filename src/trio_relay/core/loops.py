"""The loop breaker: when a conversation between programs has stopped being one.

Every message carries its root (the first message of its thread), its hop (how many answers deep it is) and its path
(who sent the messages it answers). Three signs make a thread a loop: it is too deep, the same round of speakers comes
again and again, or it runs too fast. The thread is then parked until a person lets it go on. People always pass, and
what a person says starts the count afresh.
"""

from collections.abc import Sequence
from dataclasses import dataclass

#: How much of a path is kept: enough to see `Limits.cycles` rounds of `LONGEST_ROUND` speakers.
MAX_PATH = 64
LONGEST_ROUND = 6


@dataclass(frozen=True, slots=True)
class Limits:
    """What a thread may do unattended. `rate`: messages a minute from programs."""

    hops: int = 24
    cycles: int = 8
    rate: int = 60


def verdict(limits: Limits, *, hop: int, path: Sequence[str], in_last_minute: int) -> str | None:
    """Why this message would make its thread a loop, or None if it may pass.

    `hop` counts since a person last spoke or resumed the thread, `path` ends with the sender of this message.
    """
    if hop > limits.hops:
        return f"more than {limits.hops} answers without a person"
    if in_last_minute >= limits.rate:
        return f"more than {limits.rate} messages in a minute"
    round_length = repeated_round(path[-hop - 1 :] if hop else path[-1:], limits.cycles)
    if round_length is not None:
        return f"the same {round_length} speakers went round {limits.cycles} times"
    return None


def repeated_round(path: Sequence[str], times: int) -> int | None:
    """The length of the round of speakers that `path` ends with, if it comes at least `times` times in a row."""
    for length in range(2, LONGEST_ROUND + 1):
        tail = list(path[-length * times :])
        if len(tail) == length * times and tail == tail[:length] * times and len(set(tail[:length])) > 1:
            return length
    return None
