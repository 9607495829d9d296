"""Which names of leases collide: held against trying every short path."""

import fnmatch
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.core.leases import check_key, collide
from trio_relay.errors import Invalid

PATHS = [
    "/".join("".join(name) for name in names)
    for count in (1, 2, 3)
    for names in product([("a",), ("b",), ("a", "b")], repeat=count)
]
patterns = st.lists(
    st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "?", "?b", "**"]), min_size=1, max_size=3
).map("/".join)


def matches(pattern: str, path: str) -> bool:
    """The plain meaning of a pattern: ** is any number of segments, also none."""

    def rest(wanted: list[str], there: list[str]) -> bool:
        if not wanted:
            return not there
        if wanted[0] == "**":
            return any(rest(wanted[1:], there[taken:]) for taken in range(len(there) + 1))
        return bool(there) and fnmatch.fnmatchcase(there[0], wanted[0]) and rest(wanted[1:], there[1:])

    return rest(pattern.split("/"), path.split("/"))


@given(patterns, patterns)
def test_what_both_match_collides(one: str, other: str) -> None:
    together = any(matches(one, path) and matches(other, path) for path in PATHS)
    assert collide(f"file:{one}", f"file:{other}") == collide(f"file:{other}", f"file:{one}")
    if together:
        assert collide(f"file:{one}", f"file:{other}")


@given(patterns, st.sampled_from(PATHS))
def test_a_pattern_collides_with_just_the_paths_it_matches(pattern: str, path: str) -> None:
    assert collide(f"file:{pattern}", f"file:{path}") is matches(pattern, path)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("file:src/**", "file:src/api/x.py", True),
        ("file:src/*", "file:src/a/b", False),
        ("file:*.py", "file:x.*", True),
        ("file:a/**/z", "file:**/b/z", True),
        ("port:5432", "port:5432", True),
        ("port:5432", "port:5433", False),
        ("file:5432", "port:5432", False),
        ("migration", "migration", True),
        ("migration", "file:migration", False),
    ],
)
def test_examples(one: str, other: str, expected: bool) -> None:
    assert collide(one, other) is expected
    assert collide(other, one) is expected


@pytest.mark.parametrize("key", ["", "  ", "x" * 501, "message:1", "task:1", "pair:1"])
def test_names_that_cannot_be_taken(key: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_key(key)
    assert refused.value.fields[0].path == "key"
