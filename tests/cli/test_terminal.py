"""Foreign text on a terminal: shown, never obeyed."""

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_relay.cli.shared.terminal import as_json, duration, printable, printable_text

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnp.exe \u2028 \x7f"


@given(st.text())
@example(HOSTILE)
def test_one_line_holds_nothing_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert not [char for char in shown if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}]
    assert not [
        char for char in shown if unicodedata.bidirectional(char) in {"RLO", "LRO", "RLE", "LRE", "RLI"}
    ]


@given(st.text())
@example(HOSTILE)
def test_lines_and_tabs_are_all_that_is_left_of_control_characters(text: str) -> None:
    assert {char for char in printable_text(text) if unicodedata.category(char) == "Cc"} <= {"\n", "\t"}


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == printable_text(text) == text


def test_a_carriage_return_cannot_overwrite_a_line() -> None:
    assert printable_text("safe\rfake") == "safe\\rfake"
    assert printable_text("one\r\ntwo") == "one\ntwo"


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), st.sampled_from([None, 2]))
@example({"body": HOSTILE}, 2)
def test_json_keeps_its_meaning_and_is_safe_to_look_at(value: dict[str, object], indent: int | None) -> None:
    text = as_json(value, indent=indent)
    assert json.loads(text) == value
    assert {char for char in text if unicodedata.category(char) in {"Cc", "Cs"}} <= {"\n"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (59.9, "59 s"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3_605, "1 h 5 s"),
        (187_000, "2 d 3 h"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert duration(seconds) == text
