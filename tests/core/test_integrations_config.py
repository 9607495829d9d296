"""The list of integrations: what it may say, and errors that name the entry and the field but never a secret."""

import json
import traceback
from typing import Any

import pytest

from trio_relay.core.integrations import Integration, allows, by_token, parse_integrations
from trio_relay.errors import Invalid
from trio_relay.settings import SERVER, read_settings


def entry(**fields: Any) -> dict[str, Any]:
    return {"name": "ci", "token": "s3cret"} | fields


def test_everything_that_can_be_said() -> None:
    full = entry(
        scopes=["integrate"],
        targets=["tag:ops", "oncall-*"],
        channels=[" prod "],
        callbackUrl="https://ci.example:8443/hook?x=1",
        callbackSecret="other",
    )
    assert parse_integrations(json.dumps([full, {"name": "plain", "token": "t"}])) == (
        Integration(
            "ci",
            "s3cret",
            ("integrate",),
            ("tag:ops", "oncall-*"),
            ("prod",),
            "https://ci.example:8443/hook?x=1",
            "other",
        ),
        Integration("plain", "t", callback_secret="t"),
    )
    assert parse_integrations("[]") == ()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", ""),
        ("s3cret", ""),
        ('[{"name": "ci", "token": "s3cret"', ""),
        ("[" * 100_000, ""),
        ('{"token": "s3cret"}', ""),
        ('["s3cret"]', "[0]"),
        (json.dumps([entry(), entry(name="b")]), "[1].token"),
        (json.dumps([entry(), entry(token="t")]), "[1].name"),
        (json.dumps([entry(secret="s3cret")]), "[0]"),
        (json.dumps([entry(name=None)]), "[0].name"),
        (json.dumps([entry(name="s3cret name")]), "[0].name"),
        (json.dumps([entry(name="")]), "[0].name"),
        (json.dumps([{"name": "ci"}]), "[0].token"),
        (json.dumps([entry(token="")]), "[0].token"),
        (json.dumps([entry(token=" s3cret")]), "[0].token"),
        (json.dumps([entry(token="s3cret\n")]), "[0].token"),
        (json.dumps([entry(token="s3cretü")]), "[0].token"),
        (json.dumps([entry(token=5)]), "[0].token"),
        (json.dumps([entry(scopes="integrate")]), "[0].scopes"),
        (json.dumps([entry(targets=["tag:ops", 5])]), "[0].targets"),
        (json.dumps([entry(targets=[" "])]), "[0].targets"),
        (json.dumps([entry(channels={})]), "[0].channels"),
        (json.dumps([entry(callbackUrl="ftp://s3cret.example")]), "[0].callbackUrl"),
        (json.dumps([entry(callbackUrl="https://u:s3cret@ci.example")]), "[0].callbackUrl"),
        (json.dumps([entry(callbackUrl="https://")]), "[0].callbackUrl"),
        (json.dumps([entry(callbackUrl="https://ci.example:s3cret/")]), "[0].callbackUrl"),
        (json.dumps([entry(callbackUrl="https://[s3cret")]), "[0].callbackUrl"),
        (json.dumps([entry(callbackUrl="https://a..b/")]), "[0].callbackUrl"),
        (json.dumps([entry(callbackUrl="https://ci.example/s3cret x")]), "[0].callbackUrl"),
        (json.dumps([entry(callbackSecret="")]), "[0].callbackSecret"),
    ],
)
def test_a_mistake_names_the_entry_and_the_field_and_no_secret(text: str, where: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_settings(SERVER, {"AGENT_RELAY_INTEGRATIONS": text or "x"})
    assert caught.value.code == "bad_integrations"
    assert caught.value.detail.startswith(f"AGENT_RELAY_INTEGRATIONS{where}: expected ")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_nothing_secret_is_in_the_representation() -> None:
    (integration,) = parse_integrations(
        json.dumps([entry(callbackUrl="https://x.example/s3cret", callbackSecret="s3cret2")])
    )
    assert "s3cret" not in repr(integration)


@pytest.mark.parametrize(
    ("patterns", "word", "allowed"),
    [
        (None, "anything", True),
        ((), "anything", False),
        (("tag:ops",), "tag:ops", True),
        (("tag:ops",), "tag:ops2", False),
        (("tag:ops",), "xtag:ops", False),
        (("a", "b*"), "bcd", True),
        (("*",), "", True),
        (("tag:*",), "tag:", True),
        (("a*c",), "abbc", True),
        (("a*c",), "abbcd", False),
        (("a.c",), "abc", False),
        (("[a]?",), "aa", False),
        (("a*",), "a\nb", True),
    ],
)
def test_patterns_know_one_sign(patterns: tuple[str, ...] | None, word: str, *, allowed: bool) -> None:
    assert allows(patterns, word) is allowed


def test_a_token_finds_its_own() -> None:
    one, two = Integration("one", "1"), Integration("two", "2")
    assert by_token([one, two], "2") is two
    assert by_token([one, two], "1") is one
    assert by_token([one, two], "ü") is None
    assert by_token([], "1") is None
