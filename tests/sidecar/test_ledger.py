"""The books: what is handed off next, and what is believed of what was handed off."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.messages import inbox_message
from trio_relay.codex.protocol import TurnEnded
from trio_relay.core.batching import message_ids
from trio_relay.core.model import Delivery, Rung
from trio_relay.sidecar.handoff import HandOff, Phase
from trio_relay.sidecar.jobs import Conclude, Finish, Job, Tell
from trio_relay.sidecar.ledger import SILENCE, Ledger
from trio_relay.sidecar.replies import replies_owed
from trio_relay.sidecar.state_file import InFlight


def ledger(jobs: list[Job] | None = None, channels: tuple[str, ...] = ()) -> Ledger:
    jobs = [] if jobs is None else jobs
    return Ledger(channels=channels, post=jobs.append, keep=lambda *_: None)


def taken(books: Ledger, now: float = 100.0, *, active: bool = False) -> HandOff:
    handoff, _ = books.next(now, active=active, window=0.6)
    assert handoff is not None
    return handoff


def record(number: int, created_at: int, **fields: Any) -> InFlight:
    return InFlight(
        client_id=f"relay:{number}", message_ids=[number], created_at=[created_at], thread_id="t", **fields
    )


def test_an_answer_that_comes_after_the_end_of_its_turn_leaves_a_doubt() -> None:
    books = ledger()
    books.take_in([inbox_message(1)], 0)
    handoff = taken(books)
    books.begin(handoff, Delivery.START, "t")
    books.ended(TurnEnded("T", "interrupted", None, None))
    books.accepted(handoff, "T", 101)
    assert books.doubtful == [handoff]


def test_a_message_seen_before_the_answer_is_in_context_once() -> None:
    jobs: list[Job] = []
    books = ledger(jobs)
    books.take_in([inbox_message(1)], 0)
    handoff = taken(books)
    books.begin(handoff, Delivery.START, "t")
    books.saw("relay:1", "T", "item", "t")
    books.accepted(handoff, "T", 101)
    books.saw("relay:1", "T", "item", "t")
    books.ended(TurnEnded("T", "completed", None, "done"))
    books.ended(TurnEnded("T", "completed", None, "done"))
    assert [type(job) for job in jobs] == [Tell, Conclude]


def test_a_record_of_another_relay_database_proves_nothing() -> None:
    books = ledger()
    books.load([inbox_message(1, created_at=2000)], [], [record(1, 1000)], 0)
    assert books.doubtful == []
    assert taken(books).messages[0].id == 1


def test_what_a_predecessor_had_in_hand_is_looked_for_before_anything_of_its_conversation_goes() -> None:
    books = ledger()
    old, follow_up, other = inbox_message(1, created_at=5), inbox_message(2, thread=1), inbox_message(3)
    books.load([old, follow_up, other], [], [record(1, 5)], 0)
    (doubtful,) = books.doubtful
    assert doubtful.messages == (old,)
    assert taken(books).messages == (other,)
    books.lost(doubtful, 100)
    assert taken(books) is doubtful


def test_a_batch_of_a_predecessor_stays_one_batch() -> None:
    books = ledger()
    batch = [inbox_message(number, created_at=number) for number in (1, 2)]
    books.load(
        batch, [], [InFlight(client_id="relay:1,2", message_ids=[1, 2], created_at=[1, 2], thread_id="t")], 0
    )
    assert [handoff.client_id for handoff in books.doubtful] == ["relay:1,2"]


def test_silence_of_an_idle_thread_raises_a_doubt() -> None:
    books = ledger()
    books.take_in([inbox_message(1)], 0)
    handoff = taken(books)
    books.begin(handoff, Delivery.START, "t")
    books.accepted(handoff, "T", 100)
    assert books.audit(101, active=lambda _: True) == float("inf")
    assert books.audit(101, active=lambda _: False) == 100 + SILENCE
    assert books.doubtful == []
    books.audit(100 + SILENCE, active=lambda _: False)
    assert books.doubtful == [handoff]


def test_refusals_are_tried_again_after_growing_pauses() -> None:
    books = ledger()
    books.take_in([inbox_message(1)], 0)
    pauses = []
    now = 100.0
    for attempt in range(1, 4):
        handoff = taken(books, now)
        books.begin(handoff, Delivery.START, "t")
        handoff.attempts = attempt
        books.refused(handoff, "no", now)
        _, wake_at = books.next(now, active=False, window=0.6)
        pauses.append(wake_at - now)
        now = wake_at
    assert pauses == [2, 4, 8]


def test_replies_go_one_to_each_sender_and_conversation() -> None:
    messages = [
        inbox_message(1, sender="a"),
        inbox_message(2, sender="a", thread=1),
        inbox_message(3, sender="a"),
        inbox_message(4, sender="b"),
        inbox_message(5, sender="system"),
        inbox_message(6, sender="c", type="reaction"),
    ]
    owed = replies_owed(messages, TurnEnded("T", "completed", None, " done \n"), "me")
    assert [(each.request.to, each.request.reply_to) for each in owed] == [("a", 2), ("a", 3), ("b", 4)]
    assert [each.id for each in owed[0].also_answers] == [1]
    assert {each.request.body for each in owed} == {"done"}
    assert owed[0].request.idempotency_key == "relay-reply:T:2"
    for status, text in [
        ("failed", "x"),
        ("interrupted", "x"),
        ("completed", None),
        ("completed", " NO_REPLY "),
    ]:
        assert replies_owed(messages, TurnEnded("T", status, None, text), "me") == []


def test_what_the_model_has_answered_itself_is_not_answered_again() -> None:
    messages = [
        inbox_message(1, sender="a", thread=1),
        inbox_message(2, sender="a", thread=1),
        inbox_message(3, sender="b", thread=1),
        inbox_message(4, sender="a", thread=1),
    ]
    ended = TurnEnded("T", "completed", None, "done")
    assert [one.message.id for one in replies_owed(messages, ended, "me", {2, 3})] == [4]
    assert [one.message.id for one in replies_owed(messages, ended, "me", {4})] == [3]
    assert replies_owed(messages, ended, "me", {3, 4}) == []


class Books(RuleBasedStateMachine):
    """A thread that takes, loses and shows texts in any order the protocol allows, against the books.

    The model is the thread itself: which texts stand in it. Whatever happens, no text is handed off that stands there,
    and the books never say in context what does not.
    """

    @initialize()
    def begin(self) -> None:
        self.jobs: list[Job] = []
        self.books = Ledger(channels=(), post=self.jobs.append, keep=lambda *_: None)
        self.now = 0.0
        self.arrived = 0
        self.turn: str | None = None
        self.turns = 0
        self.pending: list[HandOff] = []  # accepted by the turn, not yet in context
        self.thread: list[tuple[str, str]] = []  # client id, turn: what stands in the thread
        self.calling: HandOff | None = None
        self.queue: list[HandOff] = []  # in Codex's queue
        self.withdrawn: set[int] = set()

    @rule(count=st.integers(1, 3), claimable=st.booleans(), idle=st.booleans())
    def arrive(self, count: int, claimable: bool, idle: bool) -> None:
        numbers = range(self.arrived + 1, self.arrived + count + 1)
        self.arrived += count
        how: Any = {"delivery": "idle"} if idle else {}
        self.books.take_in([inbox_message(n, claimable=claimable, **how) for n in numbers], self.now)

    @precondition(lambda self: self.arrived)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.arrived))
        self.withdrawn.add(number)
        self.books.withdrawn(number)

    @rule()
    def take_out_of_the_queue_what_was_withdrawn(self) -> None:
        for handoff in self.books.in_queue:
            if handoff.message_ids <= handoff.withdrawn and handoff in self.queue:
                self.queue.remove(handoff)
                self.books.finish(handoff, Rung.RETRACTED, {})

    @precondition(lambda self: self.queue and self.turn is None)
    @rule(told=st.booleans())
    def the_queue_moves_on(self, told: bool) -> None:
        self.turns += 1
        self.turn = f"T{self.turns}"
        self.pending.append(self.queue.pop(0))
        if told:
            self.look_into_the_queue()

    @rule()
    def look_into_the_queue(self) -> None:
        for handoff in self.books.in_queue:
            if handoff not in self.queue:
                self.books.left_queue(handoff, self.now, taken_out=False)

    @precondition(lambda self: self.calling is None and not self.books.doubtful)
    @rule()
    def hand_off(self) -> None:
        self.now += 10
        handoff, _ = self.books.next(self.now, active=self.turn is not None, window=0.6)
        if handoff is not None:
            standing = {number for client, _ in self.thread for number in message_ids(client)}
            assert not standing & handoff.message_ids, "said twice"
            assert handoff not in self.queue, "queued twice"
            self.books.begin(
                handoff, Delivery.IDLE if handoff.asked is Delivery.IDLE else Delivery.START, "t"
            )
            if self.books.narrow(handoff, self.withdrawn):  # as the relay says
                self.calling = handoff

    @precondition(lambda self: self.calling is not None)
    @rule(outcome=st.sampled_from(["accepted", "refused", "done, answer lost", "never heard of"]))
    def answer(self, outcome: str) -> None:
        handoff, self.calling = self.calling, None
        assert handoff is not None
        if outcome == "refused":
            self.books.refused(handoff, "no", self.now)
            return
        if handoff.asked is Delivery.IDLE:
            if outcome != "never heard of":
                self.queue.append(handoff)
            if outcome == "accepted":
                self.books.queued(handoff, handoff.client_id, self.turn)
            else:
                self.books.connection_lost()
            return
        if outcome != "never heard of":
            if self.turn is None:
                self.turns += 1
                self.turn = f"T{self.turns}"
            self.pending.append(handoff)
        if outcome == "accepted":
            assert self.turn is not None
            self.books.accepted(handoff, self.turn, self.now)
        else:
            self.books.connection_lost()

    @precondition(lambda self: self.pending and self.turn)
    @rule()
    def consume(self) -> None:
        handoff = self.pending.pop(0)
        assert self.turn is not None
        self.thread.append((handoff.client_id, self.turn))
        self.books.saw(handoff.client_id, self.turn, f"i{len(self.thread)}", "t")

    @precondition(lambda self: self.turn is not None)
    @rule(how=st.sampled_from(["completed", "interrupted", "failed"]))
    def end_turn(self, how: str) -> None:
        while self.pending and how == "completed":
            self.consume()
        turn, self.turn = self.turn, None
        assert turn is not None
        self.pending.clear()
        self.books.ended(TurnEnded(turn, how, None, "done"))

    @precondition(lambda self: self.calling is None and self.turn is not None)
    @rule(unheard=st.integers(0, 2))
    def connection_breaks_and_the_turn_ends_unheard(self, unheard: int) -> None:
        self.books.connection_lost()
        for handoff in self.pending[:unheard]:
            assert self.turn is not None
            self.thread.append((handoff.client_id, self.turn))
        self.pending.clear()
        self.turn = None

    @precondition(lambda self: self.calling is None)
    @rule()
    def read_the_thread(self) -> None:
        for handoff in self.books.doubtful:
            if handoff in self.queue:
                self.books.queued(handoff, handoff.client_id, self.turn)
        for number, (client, turn) in enumerate(self.thread):
            self.books.saw(client, turn, f"i{number}", "t")
        for handoff in self.books.unfollowed({self.turn or ""}):
            assert handoff.turn_id is not None
            self.books.ended(TurnEnded(handoff.turn_id, "completed", None, "done"))
        for handoff in self.books.doubtful:
            if self.turn is None:
                self.books.lost(handoff, self.now)
            else:
                self.books.wait_for_turn(handoff, self.turn, self.now)

    @invariant()
    def only_what_stands_in_the_thread_is_called_in_context(self) -> None:
        standing = {client for client, _ in getattr(self, "thread", [])}
        for job in getattr(self, "jobs", []):
            if isinstance(job, Tell) and job.rung is Rung.IN_CONTEXT:
                assert job.evidence["clientId"] in standing

    @invariant()
    def nothing_that_stands_in_the_thread_is_called_taken_back(self) -> None:
        standing = {n for client, _ in getattr(self, "thread", []) for n in message_ids(client)}
        for job in getattr(self, "jobs", []):
            if isinstance(job, Finish):
                assert not standing & job.handoff.message_ids

    def teardown(self) -> None:
        """Let everything come to its end: each message is concluded exactly once, or was withdrawn."""
        if not hasattr(self, "books"):
            return
        if self.calling is not None:
            self.answer("accepted")
        for _ in range(100):
            if len(self._concluded()) == self.arrived:
                break
            if self.turn is not None:
                self.end_turn("completed")
            self.take_out_of_the_queue_what_was_withdrawn()
            while self.queue:
                self.the_queue_moves_on(told=True)
                self.end_turn("completed")
            self.read_the_thread()
            self.now += 1000
            self.hand_off()
            if self.calling is not None:
                self.answer("accepted")
        concluded = self._concluded()
        assert len(concluded) == len(set(concluded))
        assert set(range(1, self.arrived + 1)) - set(concluded) <= self.withdrawn
        assert all(phase is Phase.OVER for phase in self._phases())

    def _concluded(self) -> list[int]:
        return [m.id for job in self.jobs if isinstance(job, Conclude) for m in job.messages]

    def _phases(self) -> list[Phase]:
        return [handoff.phase for handoff in self.books._handoffs]


TestBooks = Books.TestCase
