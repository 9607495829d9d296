"""Transactions that overlap, each interleaving forced: no cursor skips what commits late, no decision is outdated.

On PostgreSQL numbers are given before the commit, so a transaction may hold a number below one that others see.
"""

from collections.abc import Iterator

import pytest

from support.two_writers import Reader, Writer, writers
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import (
    AgentRegistration,
    ClaimRequest,
    InboxMessage,
    ReceiptReport,
    SendRequest,
    SessionFields,
    StatusChange,
)
from trio_relay.errors import Conflict
from trio_relay.relay.operations import agents, event_log, leases, messages, messages_read, receipts, upkeep
from trio_relay.relay.operations.notices import notify
from trio_relay.relay.operations.tx import Tx, is_concurrent
from trio_relay.store.locks import Kind, NeedsToBeAlone, key_of
from trio_relay.store.queries import queries

Three = tuple[Reader, Writer, Writer]


@pytest.fixture
def three(room_url: str) -> Iterator[Three]:
    """bob, cat and dan are there; one reads, two write."""
    with writers(room_url) as (reader, (one, other)):
        for name in ("bob", "cat", "dan"):
            one.try_to(agents.register, AgentRegistration(id=name, ready=True), alone=True).result()
        yield reader, one, other


def to(recipient: str, body: str = "hello", **fields: object) -> SendRequest:
    return SendRequest(sender="ann", to=recipient, body=body, **fields)  # type: ignore[arg-type]


def poll(
    reader: Reader, agent: str, *, after_seq: int | None = None, since_id: int | None = None
) -> list[InboxMessage]:
    return reader.do(
        messages_read.inbox,
        agent,
        unread=True,
        since_id=since_id,
        after_seq=after_seq,
        state=None,
        limit=100,
    )


class TestNoCursorSkips:
    """One transaction has its numbers and has not committed; another comes, commits, and is read."""

    @pytest.mark.parametrize(
        ("slow_to", "reads", "cursor", "field"),
        [
            ("bob", "bob", "after_seq", "inbox_seq"),
            ("bob", "bob", "since_id", "id"),
            ("broadcast", "dan", "since_id", "id"),
        ],
        ids=["by arrival number", "by message id", "of several recipients"],
    )
    def test_a_poll(self, three: Three, slow_to: str, reads: str, cursor: str, field: str) -> None:
        reader, slow, quick = three
        slow.begin().do(messages.send, to(slow_to, "slow"))
        quick_one = quick.try_to(messages.send, to(reads, "quick"))
        first = poll(reader, reads, **{cursor: 0})
        slow.commit()
        quick_one.result()
        rest = poll(reader, reads, **{cursor: getattr(first[-1], field) if first else 0})
        assert [message.body for message in (*first, *rest)] == ["slow", "quick"]

    def test_a_message_that_waited_before_it_had_its_number(self, room_url: str) -> None:
        """It goes to both; the inbox of one is held by somebody, the other gets something else meanwhile."""
        held, free = sorted(("bob", "cat"), key=lambda name: key_of(Kind.INBOX, (name,)))
        with writers(room_url, 3) as (reader, (holder, slow, quick)):
            for name in (held, free):
                slow.try_to(agents.register, AgentRegistration(id=name), alone=True).result()
            holder.begin().do(Tx.lock_inboxes, [held])
            slow_one = slow.try_to(messages.send, to("broadcast", "slow"))
            assert not slow_one.done()
            quick.try_to(messages.send, to(free, "quick")).result()
            first = poll(reader, free, since_id=0)
            holder.commit()
            slow_one.result()
            rest = poll(reader, free, since_id=first[-1].id)
        assert [message.body for message in (*first, *rest)] == ["quick", "slow"]

    def test_work_that_is_given_back(self, three: Three) -> None:
        """A new arrival number for everybody who was offered it."""
        reader, slow, quick = three
        work = quick.try_to(messages.send, to("broadcast", "work", claimable=True)).result()[0].id
        claim = quick.try_to(leases.claim, work, ClaimRequest(agent_id="bob")).result()
        seen = poll(reader, "cat", after_seq=0)[-1].inbox_seq
        slow.begin().do(leases.release, work, ClaimRequest(agent_id="bob", lease_token=claim.lease_token))
        quick_one = quick.try_to(messages.send, to("cat", "quick"))
        first = poll(reader, "cat", after_seq=seen)
        slow.commit()
        quick_one.result()
        rest = poll(reader, "cat", after_seq=first[-1].inbox_seq if first else seen)
        assert [message.body for message in (*first, *rest)] == ["work", "quick"]

    def test_a_resume_of_the_event_log(self, three: Three) -> None:
        reader, slow, quick = three
        start = reader.do(event_log.state).horizon
        slow.begin().do(messages.send, to("bob"))
        sent = quick.try_to(messages.send, to("cat")).result()[0]
        first = reader.do(event_log.page, start)
        assert reader.do(event_log.state).horizon == start, "a stream that opens now would skip the slow one"
        slow.commit()
        rest = reader.do(event_log.page, first.end)
        assert [event.kind for event in (*first.events, *rest.events)] == ["message.new", "message.new"]
        assert f'"messageId":{sent.id}'.encode() in rest.events[-1].data

    def test_the_event_log_goes_on_after_a_transaction_that_failed(self, three: Three) -> None:
        reader, slow, quick = three
        start = reader.do(event_log.state).horizon
        slow.begin().do(messages.send, to("bob"))
        quick.try_to(messages.send, to("cat")).result()
        slow.roll_back()
        assert len(reader.do(event_log.page, start).events) == 1
        assert reader.do(event_log.state).horizon == start + 2

    def test_the_event_log_while_one_has_begun_and_not_yet_written(self, three: Three) -> None:
        """It may still be given any number from here on."""
        reader, slow, quick = three
        start = reader.do(event_log.state).horizon
        slow.begin()
        quick.try_to(messages.send, to("cat")).result()
        slow.do(messages.send, to("bob"))
        quick.try_to(messages.send, to("dan")).result()
        first = reader.do(event_log.page, start)
        slow.commit()
        assert len((*first.events, *reader.do(event_log.page, first.end).events)) == 3

    def test_a_trim_while_the_log_is_read_is_no_silent_gap(
        self, three: Three, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader, trimmer, _ = three
        whole = reader.do(event_log.page, 0)
        real = queries.events_after

        def trim_first(connection: object, **values: int) -> list[object]:
            monkeypatch.setattr(queries, "events_after", real)
            trimmer.try_to(event_log.trim, older_than=-1, keep=0, alone=True).result()
            return list(real(connection, **values))

        monkeypatch.setattr(queries, "events_after", trim_first)
        page = reader.do(event_log.page, 0)
        assert (page.events, page.trimmed_to) == ([], whole.end)

    def test_the_cursor_a_client_begins_with(self, three: Three) -> None:
        """Whatever commits after the answer has higher numbers."""
        reader, slow, asks = three
        slow.begin().do(messages.send, to("bob", "slow"))
        asking = asks.try_to(messages_read.cursor)
        assert not asking.done()
        slow.commit()
        cursor = asking.result()
        (message,) = poll(reader, "bob", after_seq=0)
        assert (cursor.latest_id, cursor.latest_seq) == (message.id, message.inbox_seq)


class TestNothingIsDecidedOnWhatIsOutdated:
    """One transaction decides; another changes what it decided upon."""

    def test_one_idempotency_key_one_message(self, three: Three) -> None:
        _, one, other = three
        first, _ = one.begin().do(messages.send, to("bob", idempotency_key="k"))
        again = other.try_to(messages.send, to("bob", idempotency_key="k"))
        one.commit()
        found, new = again.result()
        assert (found.id, new) == (first.id, False)

    def test_one_claimable_one_holder(self, three: Three) -> None:
        _, one, other = three
        work = one.try_to(messages.send, to("broadcast", claimable=True)).result()[0].id
        one.begin().do(leases.claim, work, ClaimRequest(agent_id="bob"))
        second = other.try_to(leases.claim, work, ClaimRequest(agent_id="cat"))
        one.commit()
        with pytest.raises(Conflict) as refused:
            second.result()
        assert refused.value.code == "claimed"

    def test_a_reply_and_a_report_about_the_same_delivery(self, three: Three) -> None:
        """Who comes second sees the first: no rung is passed twice, none is lost."""
        reader, one, other = three
        asked = one.try_to(messages.send, to("bob")).result()[0].id
        one.begin().do(receipts.report, asked, ReceiptReport(agent_id="bob", state=Rung.IN_CONTEXT))
        reply = other.try_to(messages.send, SendRequest(sender="bob", to="cat", body="42", reply_to=asked))
        one.commit()
        reply.result()
        (receipt,) = reader.do(receipts.receipts, asked)
        assert [step.state for step in receipt.steps][2:] == [Rung.IN_CONTEXT, Rung.ANSWERED]

    def test_too_many_hand_offs_at_once_are_still_too_many(self, three: Three) -> None:
        reader, one, other = three
        sent = one.try_to(messages.send, to("bob")).result()[0].id
        report = ReceiptReport(agent_id="bob", state=Rung.HANDED_OFF)
        for _ in range(4):
            one.try_to(receipts.report, sent, report).result()
        one.begin().do(receipts.report, sent, report)
        sixth = other.try_to(receipts.report, sent, report)
        one.commit()
        assert sixth.result().state is Rung.DEAD
        assert reader.do(receipts.receipts, sent)[0].attempts == 5

    def test_who_registers_meanwhile_gets_what_nobody_matched(self, three: Three) -> None:
        reader, one, other = three
        parked = one.begin().do(messages.send, to("tag:new"))[0]
        arriving = other.try_to(agents.register, AgentRegistration(id="eve", tags=["new"]), alone=True)
        assert not arriving.done()
        one.commit()
        arriving.result()
        assert [message.id for message in poll(reader, "eve", after_seq=0)] == [parked.id]

    def test_who_leaves_waits_for_what_is_being_sent(self, three: Three) -> None:
        reader, one, other = three
        sent = one.begin().do(messages.send, to("bob"))[0].id
        leaving = other.try_to(agents.remove_agent, "bob", alone=True)
        assert not leaving.done()
        one.commit()
        leaving.result()
        assert reader.do(receipts.receipts, sent)[0].state is Rung.DEAD

    def test_replies_in_one_thread_are_counted_one_by_one(self, three: Three) -> None:
        """Else two at once would both be the last that the rate of a thread allows."""
        _, one, other = three
        root = one.try_to(messages.send, to("bob")).result()[0].id
        one.begin().do(messages.send, SendRequest(sender="bob", to="cat", body="1", reply_to=root))
        second = other.try_to(messages.send, SendRequest(sender="cat", to="dan", body="2", reply_to=root))
        assert not second.done()
        one.commit()
        second.result()


class TestWhoeverIsNotSureAsksToBeAlone:
    """The rare cases of operations that run beside others."""

    def test_an_agent_that_comes_back(self, three: Three) -> None:
        _, one, _ = three
        offline = StatusChange(status=AgentStatus.OFFLINE)
        with pytest.raises(NeedsToBeAlone):
            one.begin().do(agents.set_status, "bob", offline)
        one.roll_back()
        one.try_to(agents.set_status, "bob", offline, alone=True).result()
        with pytest.raises(NeedsToBeAlone):
            one.begin().do(agents.heartbeat, "bob", SessionFields())

    def test_a_message_that_takes_the_place_of_another(self, three: Three) -> None:
        _, one, _ = three
        older = one.try_to(messages.send, to("bob")).result()[0].id
        with pytest.raises(NeedsToBeAlone):
            one.begin().do(messages.send, to("bob", supersedes=older))

    def test_a_message_to_very_many(self, three: Three) -> None:
        _, one, _ = three
        for number in range(70):
            one.try_to(agents.register, AgentRegistration(id=f"agent-{number}"), alone=True).result()
        with pytest.raises(NeedsToBeAlone):
            one.begin().do(messages.send, to("broadcast"))

    def test_whoever_has_the_relay_say_something(self, three: Three) -> None:
        """It goes to an inbox that was not locked in order."""
        _, one, _ = three
        with pytest.raises(NeedsToBeAlone):
            one.begin().do(notify, "bob", "delivery.expired", "too late", meta={})


def test_the_rest_is_alone_from_the_start() -> None:
    """What was not thought through for running beside others is not marked so."""
    operations = (agents, event_log, leases, messages, messages_read, receipts, upkeep)
    marked = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in operations
        for name, each in vars(module).items()
        if callable(each) and getattr(each, "__module__", "") == module.__name__ and is_concurrent(each)
    }
    assert marked == {
        "agents.heartbeat",
        "agents.set_ready",
        "agents.set_status",
        "leases.claim",
        "leases.complete",
        "leases.release",
        "leases.renew",
        "messages.mark_read",
        "messages.send",
        "receipts.report",
    }
