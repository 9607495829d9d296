"""The same search has the same answer on both engines: PostgreSQL's words are taken apart as SQLite's FTS5 does."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.sync_room import PostgresSyncRoom, SyncRoom
from trio_relay.core.wire import SendRequest
from trio_relay.relay.operations import messages, messages_read
from trio_relay.store.postgres import RelayConnection, prepare
from trio_relay.store.postgres.connection import connect

#: Letters with and without accents, of several scripts; digits; what separates words; what could be an operator.
_LETTERS = "aAbéÉüñčßøдйΩάあ漢字한٣²7\ue000"
_OTHERS = " \t\n-_.,:;/\\'\"@#*^()&|!<>%$😀\u0301\u2028\0"
texts = st.text(st.sampled_from(_LETTERS * 2 + _OTHERS), max_size=14)


@pytest.fixture(scope="module")
def connection(postgres: object) -> Iterator[RelayConnection]:
    with postgres.database() as url:  # type: ignore[attr-defined]
        prepare(url, "a test's database")
        with connect(url) as opened:
            yield opened


@settings(max_examples=150)
@given(said=st.lists(st.tuples(st.none() | texts, texts), min_size=1, max_size=4), words=texts)
@example(said=[(None, "Ärger im Büro")], words="arger buro")
@example(said=[("foo", "bar"), (None, "foo-bar baz"), (None, "bar foo")], words="foo-bar")
@example(said=[(None, "see docs/api.md at http://example.org/x?y=1")], words="api.md exam")
@example(said=[(None, "it's 10.5 % of user@example.com")], words="it's 5 user@exam")
@example(said=[(None, "snake_case CamelCase")], words="case")
@example(said=[(None, "a" * 600)], words="a" * 600)
def test_the_same_search_the_same_answer(
    connection: RelayConnection, said: list[tuple[str | None, str]], words: str
) -> None:
    if not words.replace('"', " ").replace("\0", " ").split():
        return
    answers = []
    for room in (SyncRoom(), PostgresSyncRoom(connection)):
        try:
            for subject, body in said:
                room.do(
                    messages.send, SendRequest(sender="ann", to="tag:x", subject=subject, body=body or "-")
                )
            found = room.do(messages_read.search, words, limit=100, before=None)
            answers.append([(message.subject, message.body) for message in found])
        finally:
            room.close()
    assert answers[0] == answers[1]


def test_very_long_messages_are_kept_and_found_by_their_beginning(connection: RelayConnection) -> None:
    room = PostgresSyncRoom(connection)
    body = " ".join(f"word{number}" for number in range(200_000))
    room.do(messages.send, SendRequest(sender="ann", to="tag:x", body=body))
    (found,) = room.do(messages_read.search, "word1234 word777", limit=10, before=None)
    assert found.body == body
    assert room.do(messages_read.search, "word199999", limit=10, before=None) == []
    room.close()
