"""A mistake in the list of integrations stops the start, in one line that shows no secret."""

import json
from pathlib import Path

from support.commands import call, clean_environment, serving_relay

GOOD = {"name": "ci", "token": "s3cret"}


def test_a_mistake_stops_the_start(tmp_path: Path) -> None:
    wrong = json.dumps([GOOD, {"name": "b", "token": "s3cret2", "callbackUrl": "ftp://s3cret"}])
    result = call(
        "serve", "--port", "0", "--db", str(tmp_path / "r.db"), env={"AGENT_RELAY_INTEGRATIONS": wrong}
    )
    assert result.exit_code == 2
    assert result.stderr.startswith("trio-relay: AGENT_RELAY_INTEGRATIONS[1].callbackUrl: expected an http")
    assert len(result.stderr.splitlines()) == 1
    assert "s3cret" not in result.output
    assert not (tmp_path / "r.db").exists()


def test_an_integration_must_not_have_the_shared_token(tmp_path: Path) -> None:
    env = {"AGENT_RELAY_INTEGRATIONS": json.dumps([GOOD]), "AGENT_RELAY_TOKEN": "s3cret"}
    result = call("serve", "--port", "0", "--db", str(tmp_path / "r.db"), env=env)
    assert result.exit_code == 2
    assert "give it its own" in result.stderr
    assert "s3cret" not in result.output


def test_a_good_list_is_served_and_not_logged(tmp_path: Path) -> None:
    env = clean_environment(tmp_path, AGENT_RELAY_INTEGRATIONS=json.dumps([GOOD]))
    with serving_relay("--db", str(tmp_path / "r.db"), env=env, cwd=tmp_path) as relay:
        assert relay.stop() == 0
    assert "s3cret" not in relay.greeting + (tmp_path / "serve.log").read_text()
