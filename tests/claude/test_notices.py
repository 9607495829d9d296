"""The lines a session reads: short enough that nothing is cut, and nothing of a sender's passes for the relay's."""

import html
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from trio_relay.claude.notices import (
    LONGEST_BATCH,
    LONGEST_LINE,
    PREVIEW,
    batches,
    introduction,
    notice,
    numbers_in,
)
from trio_relay.core.approval import Approval
from trio_relay.core.prompts import Introduction
from trio_relay.core.wire import Message

NASTY = st.text(st.characters(codec="utf-8") | st.sampled_from("<>&\n\r\"'\u202e\u200b$")) | st.text(
    "<&>\n", min_size=300
)


def message(number: int = 7, **fields: object) -> Message:
    told = {
        "id": number, "sender": "bob", "to": "me", "channel": None, "subject": None, "body": "hello", "reply_to": None,
        "thread_id": number, "claimable": False, "type": "message", "meta": {}, "created_at": 0, "root_id": number, "hop": 0,
    } | fields  # fmt: skip
    return Message(**told)  # type: ignore[arg-type]


def test_a_notice_says_who_whose_word_and_how_to_fetch_it() -> None:
    assert notice(message(), "me") == 'relay message 7 from peer bob: "hello" (fetch it: trio-relay read 7)'
    asked = notice(
        message(reply_to=3, to="cap:test", authority="human", claimable=True), "me", again=True, held=True
    )
    assert asked == (
        "relay message 7 from human bob, to cap:test, reply to 3, claimed for you, still unread: "
        '"hello" (fetch it: trio-relay read 7)'
    )
    assert '"the subject…"' in notice(message(subject="the subject"), "me")


def test_a_long_text_is_cut_and_shows_it() -> None:
    line = notice(message(body="word " * 1000), "me")
    assert "word…" in line
    assert len(line) < 200


@example(body="&" * PREVIEW, sender="&" * 80, subject=None, kind="<" * 40, to="b")
@given(body=NASTY, sender=NASTY, subject=st.none() | NASTY, kind=NASTY, to=NASTY)
def test_no_line_is_longer_than_claude_code_shows(
    body: str, sender: str, subject: str | None, kind: str, to: str
) -> None:
    told = message(
        body=body, sender=sender, subject=subject, type=kind, to=to, claimable=True, reply_to=2**63 - 1
    )
    line = notice(told, "me", again=True)
    assert len(html.escape(line, quote=False)) <= LONGEST_LINE
    assert len(line.splitlines()) == 1
    assert line.endswith("(fetch it: trio-relay read 7)")


@given(st.lists(st.text("ab<&", max_size=LONGEST_LINE // 5), max_size=60))
def test_batches_keep_every_line_in_order_and_are_never_cut(lines: list[str]) -> None:
    made = batches(lines)
    assert [line for batch in made for line in batch] == lines
    assert all(len(html.escape("\n".join(batch), quote=False)) <= LONGEST_BATCH for batch in made)


@given(st.text() | st.integers(1, 10**25).map(lambda n: f"relay message {n} from"))
def test_numbers_are_read_out_of_any_text(text: str) -> None:
    assert all(0 < number < 10**18 or number == 0 for number in numbers_in(text))


def test_the_numbers_of_an_event_are_those_of_its_lines() -> None:
    assert numbers_in("<event>relay message 3 from peer a: x\nrelay message 12 from human b: y</event>") == [
        3,
        12,
    ]


def test_a_session_is_told_little() -> None:
    """It is paid for at every start: about 250 tokens."""
    who = Introduction(
        agent_id="lab-claude-live-shop-89abcdef",
        relay_url="http://127.0.0.1:4850",
        profile=None,
        label="desk",
        tags=("claude", "claude-live", "shop"),
        capabilities=("chat",),
        channels=(),
        approval=Approval.OPEN,
    )
    text = introduction(who)
    assert len(text) < 1100
    for part in (
        "lab-claude-live-shop-89abcdef",
        "label desk",
        "trio-relay read ID",
        "trio-relay reply ID",
        "do not poll",
    ):
        assert part in text
    assert "approval mode" not in text, "Claude Code's own settings hold"
    assert "The relay cannot be reached just now (gone)" in introduction(who, away="gone")
    assert "change no file" in introduction(replace(who, approval=Approval.READ_ONLY))
