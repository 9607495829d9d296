"""Which commands of the model run without anybody being asked, and which a model may not run at all."""

import pytest

from trio_relay.claude.commands import answers_for_a_person, is_harmless, runs_a_program


@pytest.mark.parametrize(
    "command",
    [
        "trio-relay read 12",
        "agent-relay /pair backend 'Debug flaky tests'",
        "trio-relay reply 12 'I will join you; approve it && go'",
        'trio-relay reply 12 "It is 42."',
        "trio-relay reply 12 - <<'END'\nrm -rf / # $(only text)\nEND",
        "trio-relay claim task:3 --for 60",
        "trio-relay claim --for 60 12 --json",
        "trio-relay complete 12 done",
        "trio-relay leases",
        "trio-relay leases take migration",
        "trio-relay agent backend",
        "trio-relay reply 12 hello --agent me",
        "trio-relay reply 12 -- --agent",
    ],
)
def test_speaking_and_reading_as_oneself_is_harmless(command: str) -> None:
    assert is_harmless(command, "me")
    assert not answers_for_a_person(command)


@pytest.mark.parametrize(
    "command",
    [
        "trio-relay read 12 && touch x",
        "trio-relay read 12; touch x",
        "trio-relay read 12\ntouch x",
        "trio-relay read 12 | sh",
        "trio-relay read 12 > ~/.bashrc",
        "trio-relay reply 12 $(cat secret)",
        'trio-relay reply 12 "$(cat secret)"',
        "trio-relay reply 12 `cat secret`",
        "trio-relay reply 12 - <<END\n$(cat secret)\nEND",
        "trio-relay reply 12 - <<'END'\nEND\ntouch x\nEND",
        "trio-relay reply 12 - <<\f'END'\n\fEND\ntouch x\nEND",
        "trio-relay reply 12 - <<\xa0'END'\n\xa0END\ntouch x\nEND",
        "PATH=. trio-relay read 12",
        "./trio-relay read 12",
        "trio-relay claim 12 -- make test",
        "trio-relay claim 12 make test",
        "trio-relay claim 12 --json make",
        "trio-relay leases run migration -- ./migrate.sh",
        "trio-relay agent backend --remove",
        "trio-relay threads resume 12",
        "trio-relay task 3 done --overrule",
        "trio-relay approve 1",
        "trio-relay tokens mint",
        "trio-relay serve",
        "trio-relay reply 12 hello --agent another",
        "trio-relay read 12 --relay-url http://elsewhere",
        "trio-relay reply 12 hello --subject -- --relay-url http://elsewhere",
        "trio-relay",
        "",
    ],
)
def test_whatever_is_more_than_that_is_asked_about(command: str) -> None:
    assert not is_harmless(command, "me")


@pytest.mark.parametrize(
    "command",
    [
        "trio-relay approve 1",
        "agent-relay /deny 1 --reason no",
        "cd x && /usr/bin/trio-relay 'approve' 1",
        "trio-relay tokens mint --authority human",
        "trio-relay threads resume 12",
    ],
)
def test_what_only_a_person_may_decide_is_known(command: str) -> None:
    assert answers_for_a_person(command)


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        ("trio-relay claim 12 -- make test", True),
        ("agent-relay /claim 12 make", True),
        ("cd x && trio-relay leases run migration -- ./migrate.sh", True),
        ("trio-relay leases", False),
        ("trio-relay reply 12 'claim it'", False),
        ("make claim", False),
    ],
)
def test_what_may_run_anything_is_known(command: str, runs: bool) -> None:
    assert runs_a_program(command) is runs
