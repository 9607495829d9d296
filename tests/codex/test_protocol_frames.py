"""The app-server's frames with no I/O: every one is read, and only what breaks the protocol is an error."""

import json
from typing import Any

import pytest

from trio_relay.codex.protocol import (
    CallFailed,
    Failure,
    NoActiveTurn,
    Notification,
    NotResumable,
    Peer,
    RemoteProtocolError,
    Response,
    ServerRequest,
    TurnMismatch,
)
from trio_relay.errors import ConnectionLost

THREAD = "01a1fc28-033b-7ce3-9fee-c2c5bf02b663"
TURN = "01a1fc28-0389-71a3-b934-ee9ce38daef9"


def refused(message: str, code: int = -32600, data: Any = None) -> CallFailed:
    peer = Peer()
    call, _ = peer.request("x", {})
    answer = peer.receive(json.dumps({"id": call, "error": {"code": code, "message": message, "data": data}}))
    assert isinstance(answer, Failure)
    return answer.error


def test_a_call_carries_its_number_and_always_params() -> None:
    peer = Peer()
    assert [json.loads(peer.request("thread/read", {})[1]) for _ in range(2)] == [
        {"id": 1, "method": "thread/read", "params": {}},
        {"id": 2, "method": "thread/read", "params": {}},
    ]
    assert json.loads(peer.notification("initialized")) == {"method": "initialized"}


def test_answers_find_their_calls_in_any_order() -> None:
    peer = Peer()
    for _ in range(2):
        peer.request("x", {})
    assert peer.receive('{"id":2,"result":{"a":1}}') == Response(2, {"a": 1})
    assert peer.receive('{"id":1,"result":{}}') == Response(1, {})


def test_an_answer_nobody_waits_for_any_more_is_dropped() -> None:
    peer = Peer()
    for _ in range(2):
        peer.request("x", {})
    peer.forget(1)
    assert peer.receive('{"id":1,"result":{}}') is None
    assert peer.receive('{"id":2,"result":{}}') == Response(2, {})
    assert peer.receive('{"id":2,"result":{}}') is None
    assert peer.receive('{"id":null,"error":{"code":-32700,"message":"?"}}') is None


def test_a_frame_with_method_and_id_is_a_question_to_a_person() -> None:
    peer = Peer()
    peer.request("x", {})
    asked = '{"id":1,"method":"item/commandExecution/requestApproval","params":{"threadId":"t"}}'
    assert peer.receive(asked) == ServerRequest(1, "item/commandExecution/requestApproval", {"threadId": "t"})
    assert peer.receive('{"id":"q","method":"currentTime/read"}') == ServerRequest(
        "q", "currentTime/read", {}
    )
    assert peer.receive('{"id":1,"result":{}}') == Response(
        1, {}
    )  # the question did not take the call's place


def test_a_notification_needs_no_params_and_may_carry_more() -> None:
    peer = Peer()
    assert peer.receive('{"method":"initialized"}') == Notification("initialized", {})
    assert peer.receive('{"method":"x","params":{"a":1},"emittedAtMs":5}') == Notification("x", {"a": 1})


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "{}",
        '{"id":1}',
        '{"id":2,"result":{}}',
        '{"id":0,"result":{}}',
        '{"id":-1,"result":{}}',
        '{"id":true,"result":{}}',
        '{"id":1.0,"result":{}}',
        '{"id":"1","result":{}}',
        '{"id":1,"result":[]}',
        '{"id":1,"result":null}',
        '{"id":1,"error":null}',
        '{"id":1,"error":{}}',
        '{"id":1,"error":{"code":"x","message":"y"}}',
        '{"id":1,"error":{"code":1,"message":null}}',
        '{"method":1}',
        '{"method":"x","params":[]}',
        '{"method":"x","id":null}',
        '{"method":"x","id":1.5}',
        "[" * 100_000,
        '{"method":"\ud800"}',
    ],
)
def test_what_the_protocol_does_not_allow_is_the_peers_fault(frame: str) -> None:
    peer = Peer()
    peer.request("x", {})
    with pytest.raises(RemoteProtocolError):
        peer.receive(frame)


def test_a_protocol_fault_counts_as_a_lost_connection_and_repeats_no_content() -> None:
    with pytest.raises(ConnectionLost) as fault:
        Peer().receive('{"secret": "the text of a message"')
    assert "secret" not in fault.value.detail


# Error answers


def test_error_answers_are_told_apart() -> None:
    assert type(refused("no active turn to steer")) is NoActiveTurn
    assert type(refused("no active turn to interrupt")) is NoActiveTurn
    assert type(refused("list_turns is not supported yet", -32601)) is NotResumable
    assert type(refused(f"no rollout found for thread id {THREAD}")) is NotResumable
    assert type(refused("failed to read thread: rollout at /x.jsonl is empty", -32603)) is NotResumable
    assert (
        type(refused(f"invalid paginated history lineage for {THREAD}: missing source rollout"))
        is NotResumable
    )
    assert (
        type(refused(f"thread {THREAD} is not materialized yet; includeTurns is unavailable")) is NotResumable
    )
    assert type(refused(f"thread not found: {THREAD}")) is CallFailed


@pytest.mark.parametrize("quote", ["", "`"])
def test_a_mismatch_names_the_turn_that_runs(quote: str) -> None:
    error = refused(f"expected active turn id {quote}old{quote} but found {quote}{TURN}{quote}")
    assert isinstance(error, TurnMismatch)
    assert error.actual == TURN


def test_reasons_are_read_from_what_the_server_adds() -> None:
    assert refused("Server is draining", data={"reason": "serverShuttingDown"}).draining
    assert refused("Input exceeds", -32602, {"input_error_code": "input_too_large"}).too_large
    assert refused("thread/items/list is not supported yet", -32601).unsupported
    assert refused("Invalid request: unknown variant `thread/queue/add`").unsupported
    plain = refused("thread not found", data=["odd"])
    assert (plain.draining, plain.too_large, plain.unsupported) == (False, False, False)
    assert (plain.number, plain.message, plain.data) == (-32600, "thread not found", ["odd"])
