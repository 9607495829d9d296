import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.core.model import Authority
from trio_relay.core.profiles import Profile, clean_list, parse_profiles, resolve
from trio_relay.errors import Invalid

FILE = """{
  "reviewer": {"label": " Rita ", "tags": [" review ", "review", 3, ""], "capabilities": ["chat", "review"],
               "channels": ["code"], "approval": "read-only", "autoClaim": true,
               "mayInterrupt": ["human", "nobody", "human"], "meta": {"team": "core"}},
  "odd": {"label": 3, "tags": "review", "meta": [], "autoClaim": "yes", "mayInterrupt": "human"},
  "$schema": "./profile.schema.json"
}"""


def test_a_profile_is_trimmed_and_deduplicated() -> None:
    profiles = parse_profiles(FILE, "p.json")
    assert profiles["reviewer"] == Profile(
        "Rita",
        ("review",),
        ("chat", "review"),
        ("code",),
        "read-only",
        auto_claim=True,
        may_interrupt=(Authority.HUMAN,),
        meta={"team": "core"},
    )
    assert profiles["odd"] == Profile()
    assert set(profiles) == {"reviewer", "odd"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n  "a": {},\n  oops\n}', "p.json, line 3, column 3: not valid JSON"),
        ("[]", "p.json: expected a JSON object"),
        ('{"a": 1}', "p.json: profile 'a' is not a JSON object"),
        ("[" * 100_000, "p.json"),
        ('{"a": {"meta": {"n": ' + "1" * 5000 + "}}}", "p.json: nested too deeply, or a number too long"),
    ],
)
def test_a_broken_file_is_reported_by_place(text: str, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_profiles(text, "p.json")
    assert caught.value.detail.startswith(says)


def test_the_environment_wins_and_tags_are_added_to_the_fixed_ones() -> None:
    profile = parse_profiles(FILE, "p.json")["reviewer"]
    names = {"provider": "codex", "rig": "codex-live", "project": "shop"}
    plain = resolve(**names, name="reviewer", profile=profile)
    assert plain.tags == ("codex", "codex-live", "shop", "review")
    assert (plain.label, plain.capabilities, plain.channels) == ("Rita", ("chat", "review"), ("code",))
    assert (plain.approval, plain.meta) == ("read-only", {"team": "core", "profile": "reviewer"})
    assert (plain.auto_claim, plain.may_interrupt) == (True, (Authority.HUMAN,))
    told = resolve(
        **names, name="reviewer", profile=profile, label="Ron", tags=("codex", "api"), capabilities=("x", "x"),
        channels=("ops",), approval="open",
    )  # fmt: skip
    assert told.tags == ("codex", "codex-live", "shop", "api")
    assert (told.label, told.capabilities, told.channels, told.approval) == ("Ron", ("x",), ("ops",), "open")


def test_without_a_profile_an_agent_can_chat() -> None:
    alone = resolve(provider="codex", rig="r", project="p", name="missing")
    assert (alone.capabilities, alone.channels, alone.label, alone.approval, alone.meta) == (
        ("chat",),
        (),
        None,
        None,
        {},
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_lists_hold_clean_strings_whatever_is_written(value: object) -> None:
    cleaned = clean_list(value)
    assert len(set(cleaned)) == len(cleaned)
    assert all(item and item == item.strip() for item in cleaned)
