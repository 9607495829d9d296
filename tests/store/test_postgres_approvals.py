"""Answers that race on PostgreSQL, where several transactions write at once: the first is the answer."""

from collections.abc import Iterator

import pytest

from support.two_writers import Reader, Writer, writers
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import AgentRegistration, StatusChange
from trio_relay.core.wire_approvals import (
    Approval,
    ApprovalDecision,
    ApprovalRequest,
    ApprovalState,
    ApprovalWithdrawal,
    Decision,
)
from trio_relay.errors import Conflict
from trio_relay.relay.operations import agents, approvals

Three = tuple[Reader, Writer, Writer]
ALLOW, DENY = (ApprovalDecision(decision=each) for each in Decision)


@pytest.fixture
def three(room_url: str) -> Iterator[Three]:
    """ann is there; one reads, two write."""
    with writers(room_url) as (reader, (one, other)):
        one.try_to(agents.register, AgentRegistration(id="ann"), alone=True).result()
        yield reader, one, other


def question(key: str | None = None, summary: str = "rm") -> ApprovalRequest:
    return ApprovalRequest(agent_id="ann", tool="Bash", summary=summary, key=key)


def asked(writer: Writer) -> int:
    approval, new = writer.try_to(approvals.ask, question()).result()
    assert new
    return approval.id


def shown(reader: Reader, approval_id: int) -> Approval:
    return reader.do(approvals.get_approval, approval_id)


def test_of_two_answers_at_once_the_first_stands(three: Three) -> None:
    reader, one, other = three
    approval_id = asked(one)
    one.begin().do(approvals.decide, approval_id, ALLOW)
    late, same = other.try_to(approvals.decide, approval_id, DENY), None
    assert not late.done()
    one.commit()
    with pytest.raises(Conflict):
        late.result()
    same = other.begin().do(approvals.decide, approval_id, ALLOW)
    other.commit()
    assert same == shown(reader, approval_id)
    assert same.state is ApprovalState.ALLOWED


def test_of_an_answer_and_a_withdrawal_at_once_the_first_stands(three: Three) -> None:
    reader, one, other = three
    approval_id = asked(one)
    one.begin().do(approvals.decide, approval_id, DENY)
    late = other.try_to(approvals.withdraw, approval_id, ApprovalWithdrawal(agent_id="ann"))
    one.commit()
    assert late.result().state is ApprovalState.DENIED
    assert shown(reader, approval_id) == late.result()


def test_the_same_question_asked_at_once_is_one(three: Three) -> None:
    reader, one, other = three
    first, _ = one.begin().do(approvals.ask, question("call-1"))
    again = other.try_to(approvals.ask, question("call-1"))
    one.commit()
    assert again.result() == (first, False)
    assert [each.id for each in reader.do(approvals.list_approvals)] == [first.id]


def test_what_is_asked_while_the_asker_leaves_is_withdrawn(three: Three) -> None:
    reader, one, other = three
    asked_late, _ = one.begin().do(approvals.ask, question())
    leaving = other.try_to(agents.set_status, "ann", StatusChange(status=AgentStatus.OFFLINE), alone=True)
    assert not leaving.done()
    one.commit()
    leaving.result()
    assert shown(reader, asked_late.id).state is ApprovalState.WITHDRAWN
