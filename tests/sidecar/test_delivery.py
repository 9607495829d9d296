"""A message reaches the thread, and the answer comes back."""

from support.mock_model import Text
from support.sidecar import Stage
from trio_relay.core.model import Rung


async def test_a_message_reaches_an_idle_thread_and_the_answer_comes_back(stage: Stage) -> None:
    async with stage.sidecar() as bob:
        stage.fake.model.script = Text("The migration is fine.")
        sent = await stage.send(bob.agent_id, "check the migration", subject="Friday")
        await stage.until(sent.id, bob.agent_id, Rung.SETTLED)

        thread = stage.fake.thread(bob.thread_id)
        assert thread.client_ids == [f"relay:{sent.id}"]
        assert "check the migration" in thread.user_texts[0]
        assert await stage.ladder(sent.id, bob.agent_id) == [
            "accepted", "queued", "handed_off", "in_context", "answered", "settled"
        ]  # fmt: skip
        (reply,) = await stage.replies()
        assert (reply.body, reply.reply_to, reply.type, reply.sender) == (
            "The migration is fine.", sent.id, "reply", bob.agent_id
        )  # fmt: skip
        evidence = await stage.evidence(sent.id, bob.agent_id)
        turn = stage.fake.disk[bob.thread_id].turns[0]["id"]
        assert evidence["handed_off"] == {
            "threadId": bob.thread_id, "turnId": turn, "clientId": f"relay:{sent.id}", "mode": "start", "attempt": 1
        }  # fmt: skip
        assert evidence["in_context"].keys() == {"threadId", "turnId", "itemId", "clientId"}
        assert evidence["answered"] == {"replyId": reply.id}
        assert evidence["settled"] == {"turn": "completed", "turnId": turn}
        assert bob.state.in_flight == []
