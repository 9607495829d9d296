"""The connectors as a person runs them: shell scripts and ``trio-relay connector``, with a relay of their own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from support import commands
from support.commands import ServingRelay, clean_environment, serving_relay

ROOT = Path(__file__).parents[2]
PAYLOADS = Path(__file__).parent / "payloads"
#: Seconds in which everything here happens, many times over.
SOON = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("connectors")


@pytest.fixture(scope="module")
def relay(place: Path) -> Iterator[ServingRelay]:
    integrations = json.dumps([{"name": "ops", "token": "ops-token"}])
    env = clean_environment(place, AGENT_RELAY_INTEGRATIONS=integrations)
    with serving_relay("--db", str(place / "relay.db"), env=env, cwd=place) as running:
        yield running


def shell(
    relay: ServingRelay, place: Path, *command: str, stdin: bytes = b"", token: str = "ops-token"
) -> Any:
    env = clean_environment(place, AGENT_RELAY_URL=relay.url, AGENT_RELAY_CONNECTOR_TOKEN=token)
    script = ROOT / "scripts/connectors" / command[0]
    return subprocess.run(
        [str(script), *command[1:]],
        input=stdin,
        env=env,
        cwd=place,
        capture_output=True,
        check=False,
        timeout=120,
    )


def test_what_a_check_found_is_an_alert_until_it_is_right_again(relay: ServingRelay, place: Path) -> None:
    status = (PAYLOADS / "systemctl-status.txt").read_bytes()
    done = shell(relay, place, "ops-alert", "shop@db1", 'shop has "failed"', stdin=status)
    assert done.returncode == 0, done.stderr
    task = json.loads(done.stdout)
    assert (task["title"], task["dedupeKey"], task["target"]) == (
        'shop has "failed"',
        "ops:shop@db1",
        "tag:ops",
    )
    assert task["body"] == status.decode().rstrip("\n")
    again = json.loads(shell(relay, place, "ops-alert", "shop@db1", "shop has failed").stdout)
    assert (again["id"], again["occurrenceCount"]) == (task["id"], 2)
    over = json.loads(shell(relay, place, "ops-alert", "--resolved", "shop@db1").stdout)
    assert (over["id"], over["status"]) == (task["id"], "done")


def test_a_mail_is_a_ticket_until_it_is_closed(relay: ServingRelay, place: Path) -> None:
    mail = (PAYLOADS / "mail.txt").read_bytes()
    done = shell(relay, place, "support-ticket", stdin=mail.replace(b"\n", b"\r\n"))
    assert done.returncode == 0, done.stderr
    task = json.loads(done.stdout)
    assert task["title"] == 'Re: [#4711] The export is "slow" \\o/'
    assert task["body"] == mail.decode().split("\n\n", 1)[1].rstrip("\n")
    assert (task["dedupeKey"], task["target"]) == ("ticket:4711", "tag:support")
    assert task["metadata"] == {"from": '"Ada L." <ada@example.net>', "messageId": "<CAF=9a1b2@mail.example>"}
    over = json.loads(shell(relay, place, "support-ticket", "--closed", "4711").stdout)
    assert (over["id"], over["status"]) == (task["id"], "done")


@pytest.mark.parametrize(
    ("command", "token", "code", "says"),
    [
        (("ops-alert",), "ops-token", 2, "usage"),
        (("ops-alert", "only-a-key"), "ops-token", 2, "usage"),
        (("support-ticket",), "ops-token", 2, "this is no mail"),
        (("ops-alert", "a", "b"), "", 2, "token is missing"),
        (("ops-alert", "a", "b"), "wrong", 22, "401"),
    ],
)
def test_what_cannot_be_meant_is_said(
    relay: ServingRelay, place: Path, command: tuple[str, ...], token: str, code: int, says: str
) -> None:
    done = shell(relay, place, *command, token=token)
    assert done.returncode == code
    assert says in done.stderr.decode()


async def test_a_connector_posts_what_it_takes_and_stops_at_a_signal(
    relay: ServingRelay, place: Path
) -> None:
    (place / "secret").write_text("s3cret\n")
    env = clean_environment(place, AGENT_RELAY_URL=relay.url, AGENT_RELAY_CONNECTOR_TOKEN="ops-token")
    command = ["connector", "alertmanager", "--port", "0", "--target", "tag:ops", "--secret-file", "secret"]
    with trio.fail_after(SOON):
        with (place / "connector.log").open("wb") as log:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "trio_relay", *command],
                env=env,
                cwd=place,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            assert process.stdout is not None
            said = b""
            while b"\n" not in said:
                piece = await process.stdout.receive_some()
                assert piece, (place / "connector.log").read_text()
                said += piece
            url = said.split()[2].decode()
            async with httpx2.AsyncClient(trust_env=False, timeout=SOON) as http:
                alerts = json.loads((PAYLOADS / "alertmanager.json").read_text())
                assert (await http.post(url, json=alerts)).status_code == 401
                proven = {"Authorization": "Bearer s3cret"}
                assert (await http.post(url, json=alerts, headers=proven)).status_code == 202
                while (await http.get(f"{url}/healthz")).json()["waiting"]:
                    await trio.sleep(0.02)
                tasks = (await http.get(f"{relay.url}/api/tasks?source=ops")).json()
        finally:
            process.terminate()
            await process.wait()
    assert process.returncode == 0
    assert {task["dedupeKey"] for task in tasks} >= {
        "alertmanager:5ef77f1f8a3ecc8d",
        "alertmanager:b3bd5e8a9f6f4f2a",
    }
    assert "s3cret" not in (place / "connector.log").read_text()
    assert "Disk of db1" not in (place / "connector.log").read_text()


def call(*arguments: str, **env: str) -> Any:
    return commands.call("connector", *arguments, env=env)


def test_a_recorded_payload_can_be_tried() -> None:
    sample, rules = str(PAYLOADS / "orders.json"), str(ROOT / "scripts/connectors/webhook-rules.json")
    done = call("webhook", "--rules", rules, "--try", sample, "--header", "X-Shop-Stage: production")
    assert done.exit_code == 0, done.stderr
    assert [event["title"] for event in json.loads(done.stdout)] == [
        "Order 1007 of Ada is stuck",
        "Order 1011 of Ben is stuck",
    ]
    assert json.loads(call("webhook", "--rules", rules, "--try", sample).stdout) == []


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (("github",), {}, "AGENT_RELAY_CONNECTOR_TOKEN"),
        (("github",), {"AGENT_RELAY_CONNECTOR_TOKEN": "x"}, "AGENT_RELAY_CONNECTOR_SECRET"),
        (
            ("alertmanager", "--host", "0.0.0.0"),
            {"AGENT_RELAY_CONNECTOR_TOKEN": "x"},
            "AGENT_RELAY_CONNECTOR_SECRET",
        ),
        (("alertmanager", "--try", str(PAYLOADS / "mail.txt")), {}, "is not JSON"),
        (("github", "--try", str(PAYLOADS / "orders.json")), {}, "X-GitHub-Event"),
        (("github", "--try", str(PAYLOADS / "orders.json"), "--header", "X"), {}, "NAME:VALUE"),
        (("webhook", "--rules", str(PAYLOADS / "mail.txt")), {}, "the rules"),
    ],
)
def test_what_is_missing_is_said_before_anything_begins(
    arguments: tuple[str, ...], env: dict[str, str], says: str
) -> None:
    done = call(*arguments, **env)
    assert done.exit_code == 2
    assert says in done.stderr
