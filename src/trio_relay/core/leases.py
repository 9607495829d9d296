"""Names of leases, and which of them collide.

A resource lease names what it guards: ``scheme:pattern``, such as ``file:src/api/**``, ``port:5432``, ``migration``.
Two names collide when one thing could match both. ``*`` stands for anything within a path segment, ``?`` for one
character, a segment ``**`` for any number of segments. Everything else is literal, and schemes never mix.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

from trio_relay.errors import FieldError, Invalid

MAX_KEY = 500


def check_key(key: str) -> str:
    """The key as it is stored.

    Raises:
        Invalid: empty, too long, or in the relay's own name space.

    """
    trimmed = key.strip()
    if not trimmed or len(trimmed) > MAX_KEY:
        raise Invalid(
            "the lease key is not usable", fields=(FieldError("key", f"expected 1 to {MAX_KEY} characters"),)
        )
    if trimmed.startswith(("message:", "task:", "pair:")):
        raise Invalid(
            "this key belongs to the relay",
            fields=(FieldError("key", "expected a name outside message:, task:, pair:"),),
        )
    return trimmed


def collide(one: str, other: str) -> bool:
    """Whether one thing could match both keys."""
    if one == other:
        return True
    scheme_one, found_one, pattern_one = one.partition(":")
    scheme_other, found_other, pattern_other = other.partition(":")
    if not found_one or not found_other or scheme_one != scheme_other:
        return False
    return _meet(pattern_one.split("/"), pattern_other.split("/"), "**", _segments_meet)


@lru_cache(maxsize=4096)
def _segments_meet(one: str, other: str) -> bool:
    return _meet(one, other, "*", lambda left, right: left == right or "?" in (left, right))


def _meet(one: Sequence[str], other: Sequence[str], wild: str, alike: Callable[[str, str], bool]) -> bool:
    """Whether two patterns have a common match; `wild` matches any run of pieces, `alike` compares two other pieces."""
    # reached[j]: what has been read of `one` and the first j pieces of `other` have a common match.
    reached = [True] + [False] * len(other)
    for j, right in enumerate(other, start=1):
        reached[j] = reached[j - 1] and right == wild
    for left in one:
        above, reached = reached, [reached[0] and left == wild] + [False] * len(other)
        for j, right in enumerate(other, start=1):
            if wild in (left, right):
                # Either wild card may stand for nothing more (above, beside) or for one piece more of the other.
                reached[j] = above[j] or reached[j - 1]
            else:
                reached[j] = above[j - 1] and alike(left, right)
    return reached[-1]
