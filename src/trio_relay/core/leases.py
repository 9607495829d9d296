"""Names of leases, and which of them collide.

A resource lease names what it guards: ``scheme:pattern``, such as ``file:src/api/**``, ``port:5432``, ``migration``.
Two names collide when one thing could match both. ``*`` stands for anything within a path segment, ``?`` for one
character, a segment ``**`` for any number of segments. Everything else is literal, and schemes never mix.
"""

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
    return _segments_meet(tuple(pattern_one.split("/")), tuple(pattern_other.split("/")))


@lru_cache(maxsize=4096)
def _segments_meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    # meets[i][j]: the first i segments of `one` and the first j of `other` have a common path.
    meets = [[False] * (len(other) + 1) for _ in range(len(one) + 1)]
    meets[0][0] = True
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            if i == 0 and j == 0:
                continue
            left = one[i - 1] if i else None
            right = other[j - 1] if j else None
            meets[i][j] = (
                (left == "**" and (meets[i - 1][j] or (j > 0 and meets[i][j - 1])))
                or (right == "**" and (meets[i][j - 1] or (i > 0 and meets[i - 1][j])))
                or (
                    left is not None
                    and right is not None
                    and "**" not in (left, right)
                    and meets[i - 1][j - 1]
                    and _segment_meets(left, right)
                )
            )
    return meets[len(one)][len(other)]


@lru_cache(maxsize=4096)
def _segment_meets(one: str, other: str) -> bool:
    meets = [[False] * (len(other) + 1) for _ in range(len(one) + 1)]
    meets[0][0] = True
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            if i == 0 and j == 0:
                continue
            left = one[i - 1] if i else None
            right = other[j - 1] if j else None
            meets[i][j] = (
                (left == "*" and (meets[i - 1][j] or (j > 0 and right is not None and meets[i][j - 1])))
                or (right == "*" and (meets[i][j - 1] or (i > 0 and meets[i - 1][j])))
                or (
                    left is not None
                    and right is not None
                    and "*" not in (left, right)
                    and meets[i - 1][j - 1]
                    and (left == right or "?" in (left, right))
                )
            )
    return meets[len(one)][len(other)]
