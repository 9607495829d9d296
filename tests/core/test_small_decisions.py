"""Pauses, channels, ids, approval modes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.core.approval import (
    Approval,
    codex_arguments,
    describe,
    from_permissions,
    parse_approval,
    permissions,
)
from trio_relay.core.channels import wants
from trio_relay.core.identity import agent_id, short_hash, slug
from trio_relay.core.timing import backoff, due_at


def test_pauses_double_up_to_the_longest() -> None:
    assert list(itertools.islice(backoff(0.5, 3.0, lambda: 0.999999999), 6)) == pytest.approx(
        [0, 0.5, 1, 2, 3, 3]
    )


@given(st.floats(0.001, 10), st.floats(0.001, 100), st.randoms(use_true_random=False))
def test_pauses_stay_between_half_and_the_whole_step(initial: float, maximum: float, rng: object) -> None:
    for pause in itertools.islice(backoff(initial, maximum, rng.random), 1, 12):  # type: ignore[attr-defined]
        assert min(initial, maximum) / 2 <= pause <= maximum


def test_a_lone_message_waits_an_instant_a_burst_up_to_the_window() -> None:
    assert due_at(10.0, 10.0, active=False, window=0.6) == pytest.approx(10.02)
    assert due_at(10.0, 10.5, active=False, window=0.6) == pytest.approx(10.52)
    assert due_at(10.0, 10.59, active=False, window=0.6) == pytest.approx(10.6)
    assert due_at(10.0, 10.0, active=True, window=0.6) == pytest.approx(10.6)


def test_channels() -> None:
    assert wants((), "ops")
    assert wants(("ops",), None)
    assert wants(("ops",), "ops")
    assert not wants(("ops",), "dev")


def test_an_agent_id_is_readable_and_deterministic() -> None:
    thread = "019a3c1e-7b6d-7c2a-9f00-0123456789ab"
    assert (
        agent_id("Ann's-Mac.local", "codex-live", "My Shop", thread)
        == "ann-s-mac-codex-live-my-shop-456789ab"
    )
    assert agent_id("", "", "…", thread) == "host-rig-project-456789ab"
    assert len(agent_id("h" * 300, "r" * 300, "p" * 300, "k")) < 200


def test_threads_of_one_minute_differ() -> None:
    assert short_hash("019a3c1e-7b6d-7c2a-9f00-0123456789ab") != short_hash(
        "019a3c1e-7b6d-7c2a-9f00-1123456789ac"
    )
    assert short_hash("not a uuid") != short_hash("not a uuid either")


@given(st.text())
def test_ids_are_plain_words(text: str) -> None:
    assert set(agent_id(text, text, text, text)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug(text, "x")


@pytest.mark.parametrize("mode", list(Approval))
def test_a_mode_survives_the_way_to_codex_and_back(mode: Approval) -> None:
    assert from_permissions(*permissions(mode)) is mode
    assert codex_arguments(mode)[1::2] == permissions(mode)
    assert describe(mode)


def test_modes_derived_from_what_a_person_chose() -> None:
    assert from_permissions(None, None) is Approval.OPEN
    assert from_permissions("never", "danger-full-access") is Approval.OPEN
    assert from_permissions("on-request", None) is Approval.GUARDED
    assert from_permissions("untrusted", "workspace-write") is Approval.GUARDED
    assert from_permissions("on-request", "read-only") is Approval.READ_ONLY


def test_an_unknown_mode_warns_and_is_open() -> None:
    assert parse_approval(None) == parse_approval(" ") == (Approval.OPEN, None)
    assert parse_approval("Read-Only") == (Approval.READ_ONLY, None)
    mode, warning = parse_approval("yolo")
    assert mode is Approval.OPEN
    assert warning is not None
    assert "yolo" in warning
