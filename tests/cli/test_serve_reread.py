"""SIGHUP: the relay reads its integrations anew; a mistake is logged and leaves those that counted."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP
from typing import Any

import httpx2
import trio

from support.commands import ServingRelay, clean_environment, serving_relay
from support.processes import until

#: Seconds in which everything here happens, many times over.
SOON = 60


def lets_in(relay: ServingRelay, token: str) -> bool:
    """Whether the relay takes events with this token."""
    event = {"title": "the build is red", "target": "tag:ops"}
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx2.post(f"{relay.url}/api/integrations/events", json=event, headers=headers, timeout=SOON)
    assert answer.status_code in {201, 401}
    return answer.status_code == 201


def wait(condition: Callable[[], bool]) -> None:
    async def bounded() -> None:
        with trio.fail_after(SOON):
            await until(condition)

    trio.run(bounded)


def test_integrations_are_read_anew_and_a_mistake_changes_nothing(tmp_path: Path) -> None:
    file, log = tmp_path / "integrations.json", tmp_path / "serve.log"
    (tmp_path / "relay.env").write_text(
        f"AGENT_RELAY_INTEGRATIONS=@{file}\nAGENT_RELAY_LOG_FORMAT=json\nAGENT_RELAY_TOKEN=s3cret-shared\n"
    )
    file.write_text('[{"name": "ci", "token": "s3cret-one"}]')

    def lines() -> list[dict[str, Any]]:
        # The last line may be half written.
        return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def said(event: str) -> list[dict[str, Any]]:
        return [line for line in lines() if line["event"] == event]

    def reread(content: str, event: str) -> dict[str, Any]:
        before = len(said(event))
        file.write_text(content)
        relay.process.send_signal(SIGHUP)
        wait(lambda: len(said(event)) > before)
        return said(event)[-1]

    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(SOON)
    manager.bind(str(tmp_path / "notify"))
    env = clean_environment(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"))
    with manager, serving_relay("--env-file", "relay.env", env=env, cwd=tmp_path) as relay:
        assert manager.recv(100) == b"READY=1"  # systemd counts it as started
        assert lets_in(relay, "s3cret-one")
        line = reread('[{"name": "alerts", "token": "s3cret-two"}]', "integrations reread")
        assert (line["names"], line["level"]) == (["alerts"], "info")
        assert (lets_in(relay, "s3cret-one"), lets_in(relay, "s3cret-two")) == (False, True)

        for wrong, reason in (
            (
                '[{"name": "a", "token": "s3cret-3"}, {"name": "b"}]',
                "AGENT_RELAY_INTEGRATIONS[1].token: expected",
            ),
            ("s3cret", "AGENT_RELAY_INTEGRATIONS: expected a JSON list"),
            ('[{"name": "a", "token": "s3cret-shared"}]', "has AGENT_RELAY_TOKEN as its token"),
        ):
            line = reread(wrong, "integrations not reread")
            assert line["level"] == "error"
            assert reason in line["reason"]
        file.unlink()
        relay.process.send_signal(SIGHUP)
        wait(lambda: "cannot read" in said("integrations not reread")[-1]["reason"])
        assert lets_in(relay, "s3cret-two")
        assert relay.stop() == 0
    assert {line["event"] for line in lines()} >= {"serving", "signal", "stopped"}
    assert "s3cret" not in log.read_text()
    assert all(line["timestamp"].endswith("Z") for line in lines())
