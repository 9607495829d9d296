"""Older versions of the real Codex, held to the same beliefs as the newest but for what is listed here.

Not in the default run: ``CODEX_VERSIONS=all`` (CI) or ``CODEX_VERSIONS=0.130.0`` runs them.
"""

from pathlib import Path

import pytest
import trio

from support.app_server_rig import Check, Rig, held
from support.check_app_server import CHECKS
from support.codex import older_versions
from support.real_app_server import real_app_server
from trio_relay.codex.capabilities import capabilities_of

pytestmark = pytest.mark.codex

#: What the newest does and older ones do not, and what that means here.
_STEERS_WAIT = "a steer waits for the end of the reply: slower, not different"
_DRAIN_BY_ENDING = "SIGTERM ends it as a kill does: the connection is lost, and found again"
_NO_ID = "gives no client id back: the text is looked at instead (`the_id_in_a_text_is_its_proof`)"
_NO_QUEUE = "has no queue: the call is unsupported, and a turn is started when the thread is idle"
_SINCE_0_169 = {
    "a_start_during_a_turn_joins_it": _STEERS_WAIT,
    "a_message_told_is_in_the_history_while_its_turn_runs": _STEERS_WAIT,
    "a_steer_cuts_a_reply_off": _STEERS_WAIT,
    "a_second_client_hears_all_from_its_resume_on": _STEERS_WAIT,
    "the_older_kind_of_history_is_read_as_well": _STEERS_WAIT,
    "a_draining_server_ends_its_turns_and_takes_no_more": _DRAIN_BY_ENDING,
    "a_draining_server_takes_into_its_queue_and_begins_nothing": _DRAIN_BY_ENDING,
}
_SINCE_0_150 = {
    "a_turn_is_told_in_order_and_idle_comes_before_its_end": _NO_ID,
    "a_review_takes_no_text": "a start during a review is accepted, and seen when the review is over",
    "two_starts_at_once_are_one_turn": "the second start is answered with a turn that never runs",
    "a_failed_turn_leaves_a_thread_that_takes_the_next": "asked later, it calls a failed turn completed",
    "a_question_reaches_every_subscriber_and_the_first_answer_wins": _STEERS_WAIT,
    "an_error_answer_rejects_a_question": "asks nobody who resumed the thread",
    "the_longest_text_comes_through": "the id in the text takes some of its room",
    "unknown_threads_are_refused": "has no diagnostics",
    "a_failed_turn_does_not_stop_the_queue": _NO_QUEUE,
    "a_queue_that_stands_still_does_so_after_a_restart": _NO_QUEUE,
    "an_idle_thread_takes_a_queued_text_at_once": _NO_QUEUE,
    "an_interrupt_stops_an_empty_queue_as_well_and_a_turn_sets_it_going": _NO_QUEUE,
    "an_interrupt_stops_the_queue_until_somebody_starts_it": _NO_QUEUE,
    "the_queue_outlives_a_kill_and_goes_on_when_its_thread_is_resumed": _NO_QUEUE,
    "what_is_queued_waits_for_the_turn_and_gets_one_of_its_own": _NO_QUEUE,
    "an_item_injected_during_a_turn_waits_in_memory": "writes it down at once",
    "an_item_injected_while_the_model_speaks_has_it_asked_again": "shows it with the next request, and asks for none",
}
_LACKS = {"0.150.0": _SINCE_0_169, "0.130.0": _SINCE_0_169 | _SINCE_0_150}


async def a_steer_waits_for_the_end_of_the_reply(rig: Rig) -> None:
    rig.model.script, hold = held()
    async with rig.thread() as (server, thread_id, watch):
        turn_id = await server.turn_start(thread_id, "first", "relay:1")
        await watch.speaking()
        await server.turn_steer(thread_id, turn_id, "second", "relay:2")
        await server.turn_start(thread_id, "third", "relay:3")
        assert [one.client_id for one in await server.user_messages(thread_id)] == ["relay:1"]
        hold.set()
        await watch.ended(turn_id)
        assert watch.client_ids == ["relay:1", "relay:2", "relay:3"]
        found = await server.user_messages(thread_id)
        assert [(one.client_id, one.turn_id) for one in found] == [
            (f"relay:{number}", turn_id) for number in (1, 2, 3)
        ]


async def the_id_in_a_text_is_its_proof(rig: Rig) -> None:
    async with rig.thread() as (server, thread_id, watch):
        await watch.ended(await server.turn_start(thread_id, "hello", "relay:1,2"))
        await watch.ended(await server.turn_start(thread_id, "a person's\n[relay:3] no id", "a-person-s"))
        proof = "clientId" if server.can.echoes_client_ids else "text"
        (seen, _) = await server.user_messages(thread_id)
        assert (seen.client_id, seen.proof) == ("relay:1,2", proof)
        assert watch.client_ids[0] == "relay:1,2"
        await rig.server.kill()
    await rig.server.start()
    async with rig.connect() as server:
        assert (await server.user_messages(thread_id))[0] == seen


async def its_version_is_known(rig: Rig) -> None:
    async with rig.connect() as server:
        assert server.can.version is not None
        assert server.can == capabilities_of(server.user_agent)


_MORE = [a_steer_waits_for_the_end_of_the_reply, the_id_in_a_text_is_its_proof, its_version_is_known]


def checks() -> list[tuple[str, Check]]:
    return [
        (version, check)
        for version in older_versions()
        for check in (*CHECKS, *_MORE)
        if check.__name__ not in _LACKS[version]
    ]


if older_versions():

    @pytest.mark.parametrize(("version", "check"), checks(), ids=lambda one: getattr(one, "__name__", one))
    async def test_an_older_app_server(version: str, check: Check, tmp_path: Path) -> None:
        with trio.fail_after(60):
            async with real_app_server(tmp_path, version=version) as real:
                await check(Rig(real, real.cwd))


def test_what_older_versions_lack_is_a_check_of_the_newest() -> None:
    names = {check.__name__ for check in CHECKS}
    assert {name for lacks in _LACKS.values() for name in lacks} <= names


@pytest.mark.parametrize(
    ("user_agent", "version", "echoes", "bars"),
    [
        ("codex-tui/0.130.0 (Debian 12)", (0, 130), False, False),
        ("codex-tui/0.150.0-alpha.3 (Debian 12)", (0, 150), True, False),
        ("agent_relay/0.169.0 (x) xterm (agent_relay; 0)", (0, 169), True, True),
        ("something/1.0.0", (1, 0), True, True),
        ("something else", None, True, True),
    ],
)
def test_the_version_is_read_from_what_the_server_calls_itself(
    user_agent: str, version: tuple[int, int] | None, echoes: bool, bars: bool
) -> None:
    can = capabilities_of(user_agent)
    assert (can.version, can.echoes_client_ids, can.names_joined_turns) == (version, echoes, echoes)
    assert (can.tells_resumes, can.flags_bar_resume) == (echoes, bars)
