"""The keeper of a Claude Code session: who it is, how messages are announced, and what its receipts say."""

import itertools
from collections.abc import Sequence
from functools import partial

import pytest
import trio
import trio.testing

from support.claude_keeper import SESSION, ClaudeStage
from trio_relay.claude.events import Answer
from trio_relay.claude.ledger import TELLINGS
from trio_relay.claude.notices import PAUSE
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration
from trio_relay.settings import AgentSettings
from trio_relay.sidecar.claude.outlet import Waiters
from trio_relay.sidecar.claude.run import Exit
from trio_relay.sidecar.state_file import State, StateFile
from trio_relay.supervise import Doorbell

OTHER = "7d0e5e5a-93a1-4a51-8a3b-aaaabbbbcccc"


class TestWhoItIs:
    async def test_it_registers_as_what_the_environment_says(self, stage: ClaudeStage) -> None:
        settings = AgentSettings(label="desk", tags=("api",), channels=("ops",), approval="guarded")
        async with stage.session(agent=settings) as ann:
            agent = await stage.agent(ann, AgentStatus.IDLE)
        assert agent.id == "lab-claude-live-shop-456789ab"
        assert (agent.label, agent.tags) == ("desk", ["claude", "claude-live", "shop", "api"])
        assert agent.channels == ["ops"]
        assert (agent.meta["client"], agent.meta["approvalMode"]) == ("claude", "guarded")
        assert agent.meta["threadId"] == SESSION

    async def test_it_stays_the_same_agent_through_clear_and_resume(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            first = await stage.agent(ann, AgentStatus.IDLE)
            ann.session_id = OTHER
            await ann.hook("SessionEnd", reason="clear")
            assert first.id in await ann.start("clear")
            await trio.sleep(1)
            now = await stage.agent(ann, AgentStatus.IDLE)
            assert (now.id, now.epoch, now.meta["threadId"]) == (first.id, first.epoch, OTHER)
            assert StateFile.open(ann.state_file, stage.now).state.thread_id == OTHER

        # Whoever continues that session later is the same agent too.
        async with stage.session(session_id=OTHER) as again:
            await stage.agent(again, AgentStatus.IDLE)
            assert again.agent_id == first.id

    async def test_the_end_of_the_session_is_the_end_of_the_keeper(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            assert ann.state_file.exists()
            began = trio.current_time()
            await ann.hook("SessionEnd", reason="prompt_input_exit")
            await ann.ended.wait()
            assert trio.current_time() - began < 0.1
        assert (await stage.relay.agent(ann.agent_id)).status is AgentStatus.OFFLINE
        assert not ann.state_file.exists()

    async def test_a_newer_instance_takes_over(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            await stage.relay.register(AgentRegistration(id=ann.agent_id, instance_id="newer", ready=True))
            await ann.ended.wait()
        assert ann.code is Exit.REPLACED
        assert (await stage.relay.agent(ann.agent_id)).status is AgentStatus.ONLINE

    async def test_a_relay_that_forgot_it_is_told_again(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            await stage.relay.remove_agent(ann.agent_id)
            await stage.agent(ann, AgentStatus.IDLE)

    async def test_while_the_relay_is_away_hooks_answer_at_once_and_say_so(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            ann.transport.broken = True
            await trio.sleep(5)
            began = trio.current_time()
            assert "The relay cannot be reached just now" in await ann.start()
            assert await ann.prompt() == {}
            await ann.stop()
            assert trio.current_time() == began
            ann.transport.broken = False
            await stage.agent(ann, AgentStatus.IDLE)
            assert "cannot be reached" not in await ann.start("compact")

    async def test_what_a_session_is_told_is_told_once(self, stage: ClaudeStage) -> None:
        """A SessionStart hook that came before its keeper was there is made good with the first prompt."""
        async with stage.session() as ann:
            assert f"You are agent {ann.agent_id}" in (await ann.prompt())["additionalContext"]
            assert await ann.prompt() == {}


class TestASuccessor:
    """A keeper that was killed leaves its state file; the next one in the same process takes its place."""

    async def test_it_is_the_same_agent_and_says_nothing_twice(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            ann.session_id = OTHER
            await ann.start("clear")
            first = await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send(ann.agent_id, "once")
            work = await stage.send(ann.agent_id, "work", claimable=True)
            await stage.until(work, ann, Rung.HANDED_OFF)
            await trio.sleep(1)
            assert len(ann.printed.lines) == 2
            ann.says("busy", stage.now() * 1000)
            left = ann.state_file.read_bytes()
            ann.transport.broken = True
        ann.state_file.write_bytes(left)
        async with stage.session() as again:
            again.session_id = OTHER
            now = await stage.agent(again, AgentStatus.BUSY)
            assert (now.id, now.epoch, now.meta["threadId"]) == (first.id, first.epoch + 1, OTHER)
            await trio.sleep(60)
            assert [str(work.id) in line for line in again.printed.lines] == [True], "its claim is taken anew"
            await again.fetch(sent)
            await stage.until(sent, again, Rung.IN_CONTEXT)

    async def test_a_file_of_another_session_is_not_believed(self, stage: ClaudeStage) -> None:
        """Numbers of processes come again."""
        async with stage.session(session_id=OTHER) as other:
            await stage.agent(other, AgentStatus.IDLE)
            left = other.state_file.read_bytes()
        other.state_file.write_bytes(left)
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            assert ann.agent_id != other.agent_id


class TestStatus:
    async def test_turns_make_it_busy(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await ann.start()
            await ann.prompt()
            await stage.agent(ann, AgentStatus.BUSY)
            await ann.stop()
            await stage.agent(ann, AgentStatus.IDLE)

    async def test_a_turn_that_is_interrupted_shows_in_the_status_file_alone(
        self, stage: ClaudeStage
    ) -> None:
        async with stage.session() as ann:
            await ann.start()
            ann.says("idle", stage.now() * 1000)
            await trio.sleep(1)
            await ann.prompt()
            await trio.sleep(10)
            await stage.agent(ann, AgentStatus.BUSY)  # what the file says is older than the hook
            ann.says("idle", stage.now() * 1000)
            await stage.agent(ann, AgentStatus.IDLE)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"status": 5}', '{"status": "dreaming"}'])
    async def test_a_status_file_that_cannot_be_read_says_nothing(
        self, stage: ClaudeStage, text: str
    ) -> None:
        async with stage.session() as ann:
            await ann.prompt()
            ann.says("idle", 0)
            ann.status_file.write_text(text)
            await trio.sleep(5)
            await stage.agent(ann, AgentStatus.BUSY)


class TestAnnouncing:
    async def test_a_message_is_announced_fetched_and_settled(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await ann.start()
            await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send(ann.agent_id, "look at <foo.py> & bar")
            evidence = await stage.until(sent, ann, Rung.HANDED_OFF)
            assert (evidence["by"], evidence["sessionId"]) == ("monitor", SESSION)
            assert ann.printed.lines == [
                (
                    f'relay message {sent.id} from peer alice: "look at <foo.py> & bar" '
                    f"(fetch it: trio-relay read {sent.id})"
                )
            ]
            await ann.shown(*ann.printed.lines)
            await trio.sleep(30)
            assert await stage.rung(sent, ann) is Rung.HANDED_OFF, "that it was announced proves nothing"
            await ann.fetch(sent)
            evidence = await stage.until(sent, ann, Rung.IN_CONTEXT)
            assert evidence == {
                "by": "PostToolUse",
                "tool": "Bash",
                "toolUseId": "toolu_1",
                "sessionId": SESSION,
            }
            await ann.stop()
            assert await stage.until(sent, ann, Rung.SETTLED) == {"turn": "completed"}
            assert len(ann.printed.lines) == 1

    async def test_a_text_of_signs_alone_is_to_be_seen_as_well(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send(ann.agent_id, "\N{THUMBS UP SIGN} ?!")
            await stage.until(sent, ann, Rung.HANDED_OFF)
            await ann.fetch(sent, shown=f"message {sent.id} is handed_off")
            await trio.sleep(1)
            assert await stage.rung(sent, ann) is Rung.HANDED_OFF
            await ann.fetch(sent)
            await stage.until(sent, ann, Rung.IN_CONTEXT)

    async def test_what_is_fetched_while_it_is_announced_is_announced_once(
        self, stage: ClaudeStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            await ann.prompt()
            say = ann.printed.say

            async def slowly(lines: Sequence[str]) -> bool:
                await ann.fetch(sent)
                return await say(lines)

            monkeypatch.setattr(ann.printed, "say", slowly)
            sent = await stage.send(ann.agent_id, "look at foo.py")
            await stage.until(sent, ann, Rung.IN_CONTEXT)
            await ann.stop()
            await stage.until(sent, ann, Rung.SETTLED)
            await trio.sleep(300)
            assert len(ann.printed.lines) == 1

    async def test_a_turn_in_which_a_message_was_fetched_is_one_it_has_reached(
        self, stage: ClaudeStage
    ) -> None:
        async with stage.session(agent=AgentSettings(approval="guarded")) as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            make = partial(ann.hook, "PreToolUse", tool_name="Bash", tool_input={"command": "make"})
            await ann.start()
            await ann.prompt("see what is in your inbox")
            sent = await stage.send(ann.agent_id, "look at foo.py", meta={"delivery": "start"})
            await trio.sleep(1)
            assert await make() == {}, "the person's own turn"
            await ann.fetch(sent)
            assert (await make())["permissionDecision"] == "ask"
            await ann.stop()
            await ann.prompt()
            assert await make() == {}

    @pytest.mark.parametrize("shown", ["", "message 1\nlook at", "another text", "look at foo.py"])
    async def test_a_text_that_was_not_shown_is_not_called_in_context(
        self, stage: ClaudeStage, shown: str
    ) -> None:
        """Sent to a file, cut off, or of another message."""
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send(ann.agent_id, "look at foo.py or else at bar.py")
            await stage.until(sent, ann, Rung.HANDED_OFF)
            await ann.shown(*ann.printed.lines)
            await ann.fetch(sent, shown=shown)
            await ann.stop()
            await trio.sleep(1)
            assert await stage.rung(sent, ann) is Rung.HANDED_OFF

    async def test_what_was_passed_over_is_announced_again_and_not_for_ever(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send(ann.agent_id, "hello")
            await stage.until(sent, ann, Rung.HANDED_OFF)
            await ann.shown(*ann.printed.lines)
            await trio.sleep(300)
            assert len(ann.printed.lines) == 1, "not while the turn runs"
            await ann.stop()
            await trio.sleep(3600)
            assert len(ann.printed.lines) == TELLINGS
            assert ["still unread" in line for line in ann.printed.lines] == [False, True, True]
            assert await stage.rung(sent, ann) is Rung.HANDED_OFF

    async def test_a_burst_is_few_batches_and_loses_nothing(self, stage: ClaudeStage) -> None:
        """Claude Code drops what is printed too often, and cuts what is too long."""
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            sent = [await stage.send(ann.agent_id, f"{number} " + "<&>" * 300) for number in range(60)]
            await trio.sleep(40)
            times = [at for at, _ in ann.printed.batches]
            assert all(later - earlier > PAUSE - 1e-6 for earlier, later in itertools.pairwise(times))
            assert all(len(line) <= 450 for line in ann.printed.lines)
            told = [line.split()[2] for line in ann.printed.lines if "still unread" not in line]
            assert told == [str(message.id) for message in sent]

    async def test_what_waits_from_before_is_announced_at_the_start(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
        sent = await stage.send(ann.agent_id, "for later")
        async with stage.session() as again:
            await stage.until(sent, again, Rung.HANDED_OFF)
            assert len(again.printed.lines) == 1

    async def test_more_may_wait_than_one_poll_asks_about_and_one_prompt_takes(
        self, stage: ClaudeStage
    ) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
        sent = [await stage.send(ann.agent_id, "green again", meta={"delivery": "fyi"}) for _ in range(600)]
        async with stage.session() as again:
            await again.start()
            await stage.agent(again, AgentStatus.IDLE)
            await trio.sleep(60)
            for begin in (0, 10):
                told = (await again.prompt())["additionalContext"].splitlines()
                assert [int(line.split()[2]) for line in told] == [
                    each.id for each in sent[begin : begin + 10]
                ]
                await again.stop()
            await stage.until(sent[19], again, Rung.SETTLED)

    async def test_what_is_withdrawn_is_not_announced_again(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send(ann.agent_id, "never mind", ttl_ms=5_000)
            await stage.until(sent, ann, Rung.HANDED_OFF)
            await trio.sleep(3600)
            assert len(ann.printed.lines) == 1
            assert await stage.rung(sent, ann) is Rung.EXPIRED

    async def test_other_channels_and_acknowledgements_wake_nobody(self, stage: ClaudeStage) -> None:
        async with stage.session(agent=AgentSettings(channels=("ops",))) as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            elsewhere = await stage.send(ann.agent_id, "psst", channel="gossip")
            ack = await stage.send(ann.agent_id, "on it", type="ack")
            assert await stage.until(elsewhere, ann, Rung.SETTLED) == {"skipped": "channel"}
            assert await stage.until(ack, ann, Rung.SETTLED) == {"skipped": "silent"}
            assert ann.printed.lines == []

    async def test_an_fyi_goes_along_with_the_next_prompt(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await ann.start()
            await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send(ann.agent_id, "main is green again", meta={"delivery": "fyi"})
            await trio.sleep(3600)
            assert ann.printed.lines == []
            assert "main is green again" in (await ann.prompt())["additionalContext"]
            await ann.stop()
            await stage.until(sent, ann, Rung.SETTLED)

    async def test_digests_gather(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            for number in range(3):
                await stage.send(ann.agent_id, f"build {number}", meta={"delivery": "digest"})
                await trio.sleep(10)
            assert ann.printed.lines == []
            await trio.sleep(60)
            assert len(ann.printed.batches[0][1]) >= 1
            assert len([line for line in ann.printed.lines if "still" not in line]) == 3


class TestClaims:
    async def test_work_is_claimed_kept_and_completed_with_the_turn(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send("cap:chat", "whoever can", claimable=True)
            await stage.until(sent, ann, Rung.HANDED_OFF)
            await trio.sleep(0.1)
            assert "claimed for you" in ann.printed.lines[0]
            await ann.shown(*ann.printed.lines)
            await ann.fetch(sent)
            await trio.sleep(600)
            assert (await stage.relay.message(sent.id)).claimed_by == ann.agent_id
            await ann.stop()
            assert await stage.until(sent, ann, Rung.SETTLED) == {"turn": "completed", "claim": "completed"}

    async def test_work_whose_turn_is_interrupted_is_given_back(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send("cap:chat", "whoever can", claimable=True)
            await stage.until(sent, ann, Rung.HANDED_OFF)
            await ann.shown(*ann.printed.lines)
            await ann.fetch(sent)
            await trio.sleep(1)
            ann.says("idle", stage.now() * 1000)
            evidence = await stage.until(sent, ann, Rung.SETTLED)
            assert evidence == {"turn": "interrupted", "claim": "released"}

    async def test_work_nobody_looks_at_is_given_back(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send("cap:chat", "whoever can", claimable=True)
            await stage.until(sent, ann, Rung.HANDED_OFF)
            await trio.sleep(3600)
            assert (await stage.relay.message(sent.id)).claimed_by is None

    async def test_a_guarded_session_is_offered_work(self, stage: ClaudeStage) -> None:
        async with stage.session(agent=AgentSettings(approval="guarded")) as ann:
            await stage.agent(ann, AgentStatus.IDLE)
            sent = await stage.send("cap:chat", "whoever can", claimable=True)
            await stage.until(sent, ann, Rung.HANDED_OFF)
            await trio.sleep(0.1)
            assert "an offer: claim it before you begin" in ann.printed.lines[0]
            assert (await stage.relay.message(sent.id)).claimed_by is None

    async def test_of_two_sessions_one_is_told(self, stage: ClaudeStage) -> None:
        async with stage.session() as ann, stage.session(session_id=OTHER) as bob:
            await stage.agent(ann, AgentStatus.IDLE)
            await stage.agent(bob, AgentStatus.IDLE)
            await stage.send("cap:chat", "whoever can", claimable=True)
            await trio.sleep(5)
            assert len(ann.printed.lines) + len(bob.printed.lines) == 1


class TestWaiters:
    """Where Claude Code has no monitors, a hook's process waits to wake it."""

    async def test_one_waits_and_the_newest_is_the_one(self, nursery: trio.Nursery) -> None:
        bell, answers = Doorbell(), dict[str, Answer]()
        waiters = Waiters(bell)

        async def wait(name: str) -> None:
            answers[name] = await waiters.wait()

        assert not waiters.ready
        assert not await waiters.say(["nobody hears it"])
        for name in ("first", "second"):
            nursery.start_soon(wait, name)
            await trio.testing.wait_all_tasks_blocked()
        await bell.wait()
        assert answers == {"first": Answer()}
        assert waiters.ready
        assert await waiters.say(["one", "two"])
        await trio.testing.wait_all_tasks_blocked()
        assert answers["second"] == Answer(err="one\ntwo", code=2)
        assert not waiters.ready

    async def test_one_that_is_gone_is_told_nothing(self) -> None:
        waiters = Waiters(Doorbell())
        async with trio.open_nursery() as hook:
            hook.start_soon(waiters.wait)
            await trio.testing.wait_all_tasks_blocked()
            hook.cancel_scope.cancel()
        assert not waiters.ready


@pytest.mark.parametrize("said", ["", "{", "[]", "null", '{"tool_input": 5}', "\x00", "[" * 5000])
async def test_input_that_is_not_claude_codes_is_answered_with_silence(stage: ClaudeStage, said: str) -> None:
    async with stage.session() as ann:
        for event in ("UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "Nothing"):
            if event != "UserPromptSubmit":
                assert await ann.raw(event, said) == ""


def test_a_state_file_is_what_the_commands_of_the_session_read() -> None:
    assert {"agent_id", "thread_id", "pid"} <= set(State.__struct_fields__)
