"""What agents ask, as a person sees and answers it on a terminal."""

import json
from typing import Any

import pytest
import trio

from support.commands import ServingRelay, call
from trio_relay.cli.shared.failures import REFUSED
from trio_relay.client import RelayClient, approvals
from trio_relay.core.wire import AgentRegistration
from trio_relay.core.wire_approvals import Approval, ApprovalRequest


@pytest.fixture
def asked(relay: ServingRelay) -> Approval:
    """A question of ann's."""

    async def ask() -> Approval:
        async with RelayClient.open(relay.url) as client:
            await client.register(AgentRegistration(id="ann"))
            request = ApprovalRequest(
                agent_id="ann",
                tool="Bash",
                summary="rm -r build\x1b[2J",
                detail="\n".join(f"line {number}" for number in range(1, 11)),
            )
            return await approvals.ask(client, request)

    return trio.run(ask)


def shown(*arguments: str, env: dict[str, str]) -> Any:
    result = call("approvals", "--json", *arguments, env=env)
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_what_waits_is_listed_with_the_beginning_of_its_detail(asked: Approval, env: dict[str, str]) -> None:
    result = call("approvals", env=env)
    lines = next(line for line in result.stdout.split("\n\n") if f"[{asked.id}]" in line).splitlines()
    assert lines[0].startswith(f"[{asked.id}] ")
    assert "ann wants to use Bash  (9 min " in lines[0]
    assert lines[1] == r"  rm -r build\x1b[2J"
    assert lines[2] == "    line 1"
    assert lines[-1] == f"    … 5 more lines: trio-relay approvals {asked.id}"
    assert len(lines) == 8
    whole = call("approvals", str(asked.id), env=env).stdout
    assert whole.endswith("    line 9\n    line 10\n")


def test_one_is_allowed_and_then_it_is_over(asked: Approval, env: dict[str, str]) -> None:
    result = call("approve", str(asked.id), "--reason", "go on", env=env)
    assert (result.exit_code, result.stdout) == (0, "ann may use Bash: rm -r build\\x1b[2J\n")
    assert asked.id not in [each["id"] for each in shown(env=env)]
    assert asked.id in [each["id"] for each in shown("--all", "--agent", "ann", env=env)]
    one = shown(str(asked.id), env=env)
    assert (one["state"], one["reason"]) == ("allowed", "go on")
    assert "(allowed by operator: go on)" in call("approvals", str(asked.id), env=env).stdout
    assert call("approve", str(asked.id), env=env).exit_code == 0
    late = call("deny", str(asked.id), env=env)
    assert (late.exit_code, late.stderr) == (REFUSED, f"trio-relay: approval {asked.id} is allowed already\n")


def test_one_is_denied(asked: Approval, env: dict[str, str]) -> None:
    result = call("deny", str(asked.id), "--json", env=env)
    assert json.loads(result.stdout)["state"] == "denied"
    again = call("deny", str(asked.id), env=env)
    assert again.stdout == "ann may not use Bash: rm -r build\\x1b[2J\n"


def test_where_nothing_is_it_says_so(env: dict[str, str]) -> None:
    result = call("approvals", "--agent", "nobody", env=env)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "Nothing waits for an answer.\n")
    assert call("approvals", "--agent", "nobody", "--all", env=env).stderr == "Nothing was asked.\n"
    unknown = call("approve", "99999", env=env)
    assert (unknown.exit_code, unknown.stderr) == (REFUSED, "trio-relay: there is no approval 99999\n")
