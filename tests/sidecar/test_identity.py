"""Whose successor a sidecar is."""

import pytest

from trio_relay.settings import AgentSettings, SidecarSettings
from trio_relay.sidecar.state_file import State
from trio_relay.sidecar.whoami import identify


def agent_id(sidecar: SidecarSettings, predecessor: State) -> str:
    me = identify(AgentSettings(), sidecar, predecessor, host="box", cwd="/src/shop", instance_id="i-2")
    return me.agent_id


@pytest.mark.parametrize("thread_id", [None, "019a0000-0000-7000-8000-0000000000aa"])
def test_who_takes_up_a_predecessors_work_is_the_same_agent(thread_id: str | None) -> None:
    """Also when the predecessor died before it had a thread: messages may wait for it."""
    before = State(agent_id="box-rig-shop-12345678", thread_id=thread_id)
    assert agent_id(SidecarSettings(thread_mode="auto"), before) == before.agent_id


def test_who_starts_afresh_is_another_agent() -> None:
    before = State(agent_id="box-rig-shop-12345678")
    assert agent_id(SidecarSettings(thread_mode="start"), before) != before.agent_id


def test_a_given_thread_decides_the_agent() -> None:
    before = State(agent_id="box-rig-shop-12345678", thread_id="another")
    given = SidecarSettings(thread_mode="resume", thread_id="019a0000-0000-7000-8000-0000000000aa")
    assert agent_id(given, before).endswith("-000000aa")
