"""One thread as the app-server tells of it, with no I/O; and no text whatever does harm."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trio_relay.codex.protocol import (
    Notification,
    Peer,
    RemoteProtocolError,
    StatusChanged,
    ThreadClosed,
    ThreadView,
    TurnEnded,
    TurnStarted,
    UserMessageSeen,
)

THREAD = "01a1fc28-033b-7ce3-9fee-c2c5bf02b663"
TURN = "01a1fc28-0389-71a3-b934-ee9ce38daef9"


def told(method: str, **params: Any) -> Notification:
    return Notification(method, {"threadId": THREAD, **params})


def status(kind: str, *flags: str) -> Notification:
    return told("thread/status/changed", status={"type": kind, "activeFlags": list(flags)})


def started(turn_id: str = TURN) -> Notification:
    return told("turn/started", turn={"id": turn_id, "status": "inProgress", "items": []})


def completed(turn_id: str = TURN, how: str = "completed", **more: Any) -> Notification:
    return told("turn/completed", turn={"id": turn_id, "status": how, "error": None, "items": [], **more})


def user(client_id: str | None, method: str = "item/completed") -> Notification:
    return told(method, turnId=TURN, item={"type": "userMessage", "id": "u1", "clientId": client_id})


def agent(text: str, method: str = "item/completed") -> Notification:
    return told(method, turnId=TURN, item={"type": "agentMessage", "id": "a1", "text": text})


def test_a_turn_from_start_to_end() -> None:
    view = ThreadView(THREAD)
    assert view.apply(status("active")) == [StatusChanged("active")]
    assert view.apply(started()) == [TurnStarted(TURN)]
    assert view.turn_id == TURN
    assert view.apply(user("relay:1")) == [UserMessageSeen("relay:1", TURN, "u1")]
    assert view.apply(agent("working on it")) == []
    assert view.apply(agent("done")) == []
    assert view.apply(status("idle")) == [StatusChanged("idle")]
    assert view.turn_id == TURN  # idle comes before the turn's end
    assert view.active
    assert view.apply(completed()) == [TurnEnded(TURN, "completed", None, "done")]
    assert view.turn_id is None
    assert not view.active


def test_a_message_is_proven_by_its_completed_item_only() -> None:
    view = ThreadView(THREAD)
    assert view.apply(user("relay:1", "item/started")) == []
    assert view.apply(user(None)) == []
    assert view.apply(user("relay:1")) == [UserMessageSeen("relay:1", TURN, "u1")]


def test_a_reply_that_was_cut_off_is_not_the_final_text() -> None:
    view = ThreadView(THREAD)
    view.apply(started())
    view.apply(agent("first"))
    view.apply(agent("half a sent", "item/started"))
    view.apply(agent("  \n"))
    assert view.apply(completed(how="interrupted")) == [TurnEnded(TURN, "interrupted", None, "first")]


def test_the_turns_own_items_win_over_what_was_heard() -> None:
    view = ThreadView(THREAD)
    view.apply(started())
    view.apply(agent("heard"))
    items = [{"type": "userMessage"}, {"type": "agentMessage", "text": "told at the end"}]
    [ended] = view.apply(completed(items=items))
    assert ended == TurnEnded(TURN, "completed", None, "told at the end")


def test_one_turns_words_are_never_anothers() -> None:
    view = ThreadView(THREAD)
    view.apply(started())
    view.apply(agent("of the first"))
    view.apply(completed())
    view.apply(started("second"))
    assert view.apply(completed("second")) == [TurnEnded("second", "completed", None, None)]


def test_the_end_of_another_turn_leaves_the_running_one() -> None:
    view = ThreadView(THREAD)
    view.apply(status("active"))
    view.apply(started())
    assert view.apply(completed("phantom")) == [TurnEnded("phantom", "completed", None, None)]
    assert view.turn_id == TURN


def test_a_failed_turn_says_why_and_its_thread_takes_the_next() -> None:
    view = ThreadView(THREAD)
    view.apply(started())
    view.apply(status("systemError"))
    error = {"message": "high demand", "codexErrorInfo": "internalServerError"}
    assert view.apply(completed(how="failed", error=error)) == [
        TurnEnded(TURN, "failed", "high demand", None, "internalServerError")
    ]
    assert not view.active


def test_flags_say_what_a_turn_waits_for() -> None:
    view = ThreadView(THREAD)
    assert view.apply(status("active", "waitingOnApproval")) == [
        StatusChanged("active", ("waitingOnApproval",))
    ]
    assert view.flags == ("waitingOnApproval",)


def test_an_unloaded_thread_has_no_turn() -> None:
    for ending, events in (
        (status("notLoaded"), [StatusChanged("notLoaded")]),
        (told("thread/closed"), [ThreadClosed()]),
    ):
        view = ThreadView(THREAD)
        view.attach("active", TURN)
        assert view.apply(ending) == events
        assert (view.status, view.turn_id, view.active) == ("notLoaded", None, False)


def test_other_threads_and_unknown_notifications_are_nothing() -> None:
    view = ThreadView(THREAD)
    assert view.apply(Notification("turn/started", {"threadId": "other", "turn": {"id": TURN}})) == []
    assert view.apply(Notification("turn/started", {})) == []
    assert view.apply(told("thread/goal/cleared")) == []
    assert view.apply(told("error", error={"message": "x"})) == []
    assert view.apply(told("item/completed", turnId=TURN, item={"type": "somethingNew"})) == []
    assert view.turn_id is None


# Properties

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
GOOD = [
    {"id": 1, "result": {"turn": {"id": TURN}}},
    {"id": 1, "error": {"code": -32600, "message": "no active turn to steer"}},
    {"id": 1, "error": {"code": -32600, "message": "expected active turn id `a` but found `b`"}},
    {"id": 0, "method": "item/commandExecution/requestApproval", "params": {"threadId": THREAD}},
    *(
        {"method": n.method, "params": n.params}
        for n in (status("idle"), started(), completed(), user("r"), agent("t"))
    ),
    {"method": "turn/completed", "params": completed(items=[{"type": "agentMessage", "text": "x"}]).params},
    {"method": "thread/closed", "params": {"threadId": THREAD}},
]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Take a good frame and put anything in place of one of its parts, or leave the part out."""
    frame = json.loads(json.dumps(draw(st.sampled_from(GOOD))))
    part: Any = frame
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            return frame
        key = draw(st.sampled_from(keys))
        if isinstance(part[key], dict | list) and draw(st.booleans()):
            part = part[key]
        elif draw(st.booleans()):
            part[key] = draw(json_values)
            return frame
        else:
            del part[key]
            return frame


def feed(text: str) -> None:
    """Take a text all the way in; only the peer's fault may come out."""
    peer, view = Peer(), ThreadView(THREAD)
    peer.request("x", {})
    view.attach("active", TURN)
    try:
        event = peer.receive(text)
        if isinstance(event, Notification):
            view.apply(event)
    except RemoteProtocolError:
        pass


@given(st.text())
def test_no_text_does_harm(text: str) -> None:
    feed(text)


@given(json_values)
def test_no_json_does_harm(value: Any) -> None:
    feed(json.dumps(value))


@given(mutated())
def test_no_damaged_frame_does_harm(frame: Any) -> None:
    feed(json.dumps(frame))


@given(st.text(), st.dictionaries(st.text(), json_values))
def test_unknown_notifications_change_nothing(name: str, params: dict[str, Any]) -> None:
    peer, view, untouched = Peer(), ThreadView(THREAD), ThreadView(THREAD)
    event = peer.receive(json.dumps({"method": f"new/{name}", "params": {"threadId": THREAD, **params}}))
    assert isinstance(event, Notification)
    assert view.apply(event) == []
    assert view == untouched


@given(st.lists(st.tuples(st.sampled_from(["start", "end", "idle", "active", "say"]), st.integers(0, 2))))
def test_the_view_holds_the_turn_that_was_started_last_and_has_not_ended(
    story: list[tuple[str, int]],
) -> None:
    view, running, is_active = ThreadView(THREAD), None, False
    for act, number in story:
        turn_id = f"turn-{number}"
        if act == "start":
            view.apply(started(turn_id))
            running = turn_id
        elif act == "end":
            [ended] = view.apply(completed(turn_id))
            assert isinstance(ended, TurnEnded)
            assert ended.turn_id == turn_id
            running = None if running == turn_id or not is_active else running
        elif act == "say":
            view.apply(agent("words"))
        else:
            view.apply(status(act))
            is_active = act == "active"
        assert view.turn_id == running
