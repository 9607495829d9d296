"""Full text: every word, anywhere in subject or body, newest first; and nothing a searcher types is an operator."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.relay import Room
from support.sync_room import SyncRoom
from trio_relay.core.wire import SendRequest
from trio_relay.errors import Invalid
from trio_relay.relay.operations import messages, messages_read


async def found(room: Room, words: str, **more: str) -> list[str]:
    answer = await room.http("GET", "/api/messages", params={"q": words, **more})
    assert answer.status_code == 200, answer.text
    return [each["body"] for each in answer.json()]


async def test_every_word_must_be_there_and_the_newest_comes_first(room: Room) -> None:
    for body in ("check the migration", "the migration is done", "lunch"):
        await room.relay.send(SendRequest(sender="a", to="tag:x", body=body))
    await room.relay.send(SendRequest(sender="a", to="tag:x", body="see above", subject="Migration"))
    assert await found(room, "migration") == ["see above", "the migration is done", "check the migration"]
    assert await found(room, "migration done") == ["the migration is done"]
    assert await found(room, "migr") == ["see above", "the migration is done", "check the migration"]
    assert await found(room, "migration", limit="1") == ["see above"]
    assert await found(room, "migration", before="2") == ["check the migration"]
    assert await found(room, "nowhere") == []


async def test_what_was_deleted_is_not_found(room: Room) -> None:
    sent = await room.relay.send(SendRequest(sender="a", to="tag:x", body="secret plan"))
    await room.relay.delete(sent.id)
    assert await found(room, "secret") == []


async def test_nothing_to_look_for_is_said_so(room: Room) -> None:
    answer = await room.http("GET", "/api/messages", params={"q": ' " '})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "q")


@pytest.fixture(scope="module")
def words() -> Iterator[SyncRoom]:
    room = SyncRoom()
    room.do(messages.send, SendRequest(sender="a", to="tag:x", body="NEAR AND OR NOT * ^ : ( ) alpha"))
    yield room
    room.close()


@given(text=st.text(max_size=30))
def test_no_text_breaks_the_search(words: SyncRoom, text: str) -> None:
    try:
        words.do(messages_read.search, text, limit=5, before=None)
    except Invalid as error:
        assert error.fields[0].path == "q"
