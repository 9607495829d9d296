"""What Codex says in words of its own: what a turn failed of, what a refusal means, and ids that stand in a text."""

from typing import Any

import pytest

from trio_relay.codex.protocol import (
    CallFailed,
    Notification,
    ThreadView,
    UserMessageSeen,
    signed,
    turn_ended,
    user_message,
)


@pytest.mark.parametrize(
    ("info", "failure"),
    [
        ("usageLimitExceeded", "usageLimitExceeded"),
        ({"httpConnectionFailed": {"httpStatusCode": 401}}, "httpConnectionFailed 401"),
        ({"responseStreamDisconnected": {"httpStatusCode": None}}, "responseStreamDisconnected"),
        ({"new": "kind"}, "new"),
        ("other", "other 401"),
        ({}, None),
        (None, None),
        (7, None),
    ],
)
def test_what_codex_calls_a_failure_is_read(info: Any, failure: str | None) -> None:
    message = "unexpected status 401 Unauthorized: no, url: http://model"
    ended = turn_ended({"id": "t", "status": "failed", "error": {"message": message, "codexErrorInfo": info}})
    assert ended.failure == failure


@pytest.mark.parametrize(
    ("message", "data", "kind"),
    [
        (
            "cannot steer a review turn",
            {"codexErrorInfo": {"activeTurnNotSteerable": {"turnKind": "review"}}},
            "review",
        ),
        ("failed to submit turn input: ActiveTurnNotSteerable { turn_kind: Compact }", None, "compact"),
        ("no", {"codexErrorInfo": "other"}, None),
        ("no", None, None),
    ],
)
def test_a_turn_that_takes_no_text_is_recognised(message: str, data: Any, kind: str | None) -> None:
    assert CallFailed(-32600, message, data).closed_turn == kind


def test_an_id_in_a_text_counts_only_where_codex_gives_none_back() -> None:
    def item(text: str, **more: Any) -> dict[str, Any]:
        return {"type": "userMessage", "id": "i", "content": [{"type": "text", "text": text}], **more}

    text = signed("hello", "relay:1,2")
    assert user_message(item(text), "t") is None
    assert user_message(item(text), "t", echoes=False) == UserMessageSeen("relay:1,2", "t", "i", "text")
    given_back = user_message(item(text, clientId="a-person-s"), "t", echoes=False)
    assert given_back == UserMessageSeen("a-person-s", "t", "i", "clientId")
    for other in ("hello", "[relay:1] hello", "a\n[relay:1]\nb", "a\n[]", "a\n[re lay]", ""):
        assert user_message(item(other), "t", echoes=False) is None
    assert user_message({"type": "userMessage", "id": "i"}, "t", echoes=False) is None


def test_a_review_ends_under_another_id_than_it_began_with() -> None:
    """Codex 0.130 to 0.169: ``turn/started`` names a turn that nothing else names."""
    view = ThreadView("t")

    def told(method: str, **params: Any) -> None:
        view.apply(Notification(method, {"threadId": "t", **params}))

    def status(word: str) -> None:
        told("thread/status/changed", status={"type": word})

    status("active")
    told("turn/started", turn={"id": "another"})
    status("idle")
    assert view.active
    told("turn/completed", turn={"id": "the review", "status": "completed"})
    assert not view.active
    status("active")
    told("turn/started", turn={"id": "the next"})
    told("turn/completed", turn={"id": "long over", "status": "completed"})
    assert view.turn_id == "the next"
