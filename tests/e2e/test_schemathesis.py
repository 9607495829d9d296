"""The published description against a relay in a process of its own: no 5xx, no answer that is not described.

`positive_data_acceptance` is left out: JSON Schema's integer admits 1.0, which the relay refuses, and a request may be
well formed and still name what does not exist.

``SCHEMATHESIS_EXAMPLES=15`` is the long form, which also visits the edges of every parameter.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2

from support.commands import ServingRelay, clean_environment, serving_relay
from support.schemathesis_hooks import AGENTS, SEEDED

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES")
TOKEN = "shared-token-of-the-test"
INTEGRATION = "token-of-the-integration"
CONFIG = """
headers = { Authorization = "Bearer %s" }

[[operations]]
include-name = "GET /api/messages"
parameters = { "query.wait" = 0 }

[[operations]]
include-name = "GET /api/approvals/{approvalId}"
parameters = { "query.wait" = 0 }

[[operations]]
include-path = "/api/integrations/events"
headers = { Authorization = "Bearer %s" }
"""


def schemathesis(relay: ServingRelay, directory: Path, *arguments: str, hooks: bool = False) -> str:
    """Run schemathesis over everything but the endless stream; the same requests every time."""
    config = directory / "schemathesis.toml"
    config.write_text(CONFIG % (TOKEN, INTEGRATION))
    tests = Path(__file__).parents[1]
    environment = clean_environment(directory, PYTHONPATH=str(tests))
    if hooks:
        environment["SCHEMATHESIS_HOOKS"] = "support.schemathesis_hooks"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [
        f"{relay.url}/openapi.json",
        "--phases",
        "coverage,fuzzing" if EXAMPLES else "fuzzing",
        "--exclude-path",
        "/api/events",
    ]
    command += ["--seed", "1", "--generation-deterministic", "--request-timeout", "60", "--no-color"]
    command += ["--exclude-checks", "positive_data_acceptance", *arguments]
    done = subprocess.run(
        command, env=environment, cwd=directory, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def extent_of(report: str) -> tuple[int, int]:
    """How many operations were tested, and with how many requests."""
    operations = re.search(r"Tested: (\d+)", report)
    cases = re.search(r"(\d+) generated", report)
    assert operations is not None
    assert cases is not None
    return int(operations[1]), int(cases[1])


def seed(relay: ServingRelay) -> None:
    """Fill the room with things that have the ids 1 to SEEDED."""
    credential = {"Authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(base_url=relay.url, headers=credential, trust_env=False, timeout=60) as http:

        def post(path: str, body: Mapping[str, object], **headers: str) -> None:
            answer = http.post(path, json=body, headers=headers)
            assert answer.status_code == 201, answer.text

        for agent in AGENTS:
            post("/api/agents", {"id": agent, "capabilities": ["chat"], "ready": True})
        for number in range(SEEDED):
            post(
                "/api/messages", {"from": "writer", "to": "worker", "body": "x", "claimable": number % 2 == 0}
            )
            post("/api/tokens", {"name": f"token {number}", "scopes": ["observe"]})
            post("/api/approvals", {"agentId": "worker", "tool": "Bash", "summary": f"rm {number}"})
            event = {"type": "build", "title": "x", "dedupeKey": str(number), "target": "broadcast"}
            post("/api/integrations/events", event, Authorization=f"Bearer {INTEGRATION}")
        post("/api/pairs", {"from": "writer", "target": "worker"})


def test_every_answer_of_an_open_relay_is_described(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path)
    with serving_relay("--db", str(tmp_path / "relay.db"), env=environment, cwd=tmp_path) as relay:
        report = schemathesis(
            relay, tmp_path, "--max-examples", EXAMPLES or "5", "--exclude-path", "/api/integrations/events"
        )
        assert relay.process.poll() is None
    operations, cases = extent_of(report)
    print(f"{operations} operations, {cases} requests")
    assert operations > 50


def test_every_answer_about_what_exists_is_described(tmp_path: Path) -> None:
    integration = {"name": "ci", "token": INTEGRATION}
    environment = clean_environment(
        tmp_path,
        AGENT_RELAY_TOKEN=TOKEN,
        AGENT_RELAY_INTEGRATIONS=json.dumps([integration]),
        AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE="100000",
    )
    with serving_relay("--db", str(tmp_path / "relay.db"), env=environment, cwd=tmp_path) as relay:
        seed(relay)
        report = schemathesis(
            relay,
            tmp_path,
            "--max-examples",
            EXAMPLES or "8",
            "--mode",
            "positive",
            "--exclude-method",
            "DELETE",
            hooks=True,
        )
        assert relay.process.poll() is None
    operations, cases = extent_of(report)
    print(f"{operations} operations, {cases} requests")
    assert operations > 45
