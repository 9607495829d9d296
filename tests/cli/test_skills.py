"""The skills that are shipped: front matter Codex takes, and each command line of theirs works in a session."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from support.commands import ServingRelay, call
from trio_relay.cli.shared.session import agent_of_parents, parents
from trio_relay.client import RelayClient
from trio_relay.core.model import AgentStatus
from trio_relay.core.wire import AgentRegistration
from trio_relay.home.skills import skill_files

SKILLS = Path(__file__).parents[2] / "skills"
NAMES = ["agent-relay", "disconnect", "label", "message", "pair", "send-claimable", "status", "tags"]
THREAD = "019a3c1e-7b6d-7c2a-9f00-0123456789ab"


def front_matter(name: str) -> dict[str, str]:
    """The part between the dashes: one ``key: value`` a line, as every reader of skills takes it."""
    found = re.match(r"---\n(.*?)\n---\n\n(?=\S)", (SKILLS / name / "SKILL.md").read_text(), re.DOTALL)
    assert found is not None
    pairs = [line.partition(": ") for line in found[1].splitlines()]
    assert all(key and colon and value for key, colon, value in pairs)
    assert len({key for key, _, _ in pairs}) == len(pairs)
    return {key: value.strip('"') for key, _, value in pairs}


def command_of(name: str) -> str:
    """The one command a skill runs."""
    [block] = re.findall(r"```sh\n(.*?)\n```", (SKILLS / name / "SKILL.md").read_text(), re.DOTALL)
    return str(block)


def test_these_are_shipped() -> None:
    assert sorted(skill_files()) == [f"{name}/SKILL.md" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_the_front_matter_is_what_codex_and_claude_code_take(name: str) -> None:
    front = front_matter(name)
    assert list(front) == ["name", "description", "argument-hint", "allowed-tools"]
    assert front["name"] == name
    assert re.fullmatch(r"[a-z0-9-]{1,64}", name)
    assert 20 <= len(front["description"]) <= 1024
    assert not re.search(r"[<>\n]|: |\s#", front["description"]), "YAML would read it otherwise"
    assert front["allowed-tools"] == "Bash(agent-relay:*)"


@pytest.mark.parametrize("name", NAMES)
def test_no_skill_runs_a_shell_before_the_model_has_read_it(name: str) -> None:
    """Claude Code runs ``!`command` `` at once, with what the user wrote pasted into the shell unquoted (2.1.329)."""
    text = (SKILLS / name / "SKILL.md").read_text()
    assert "!`" not in text
    assert "```!" not in text
    # Nor is a word of ours taken for one of its variables: $0 would be the first argument.
    assert set(re.findall(r"\$\{?\w+", text)) <= {"$ARGUMENTS"}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "agent-relay"])
def test_each_runs_its_command_with_the_arguments_it_was_given(name: str) -> None:
    assert command_of(name) == f"agent-relay /{name} $ARGUMENTS"


@dataclass
class Session:
    """A session of an agent, as its program's shell is in it: only the thread is known."""

    agent_id: str
    env: dict[str, str]

    def skill(self, name: str, arguments: str) -> str:
        """Run a skill's command as a shell would."""
        program, *words = shlex.split(command_of(name).replace("$ARGUMENTS", arguments))
        assert program == "agent-relay"
        result = call(*words, env=self.env)
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture
def session(relay: ServingRelay, tmp_path: Path) -> Iterator[Session]:
    """A session of `me`, beside which `backend` and `tester` are there and idle."""

    async def join(alone: bool) -> None:
        async with RelayClient.open(relay.url) as room:
            for agent in await room.agents():
                await room.remove_agent(agent.id)
            if alone:
                return
            for name, meta in (
                ("me", {"threadId": THREAD, "client": "codex"}),
                ("backend", {}),
                ("tester", {}),
            ):
                await room.register(
                    AgentRegistration(
                        id=name,
                        name="shop",
                        rig="codex-live",
                        status=AgentStatus.IDLE,
                        ready=True,
                        tags=["codex", "codex-live", "shop", name],
                        meta=meta,
                    )
                )

    trio.run(join, False)
    yield Session("me", {"AGENT_RELAY_URL": relay.url, "CODEX_THREAD_ID": THREAD, "HOME": str(tmp_path)})
    trio.run(join, True)


def inbox(session: Session, agent: str) -> list[tuple[str, str]]:
    arrived = json.loads(call("inbox", "--agent", agent, "--json", env=session.env).stdout)
    return [(message["from"], message["body"]) for message in arrived]


def test_a_message_is_sent_as_the_sessions_agent(session: Session) -> None:
    shown = session.skill("message", "backend please check 'the $HOME migration' --subject 'Two words'")
    assert "backend: live and idle" in shown
    assert inbox(session, "backend") == [("me", "please check the $HOME migration")]


def test_a_text_is_read_from_a_pipe(session: Session) -> None:
    result = call("/message", "backend", "-", "--json", env=session.env, stdin="line one\nline two")
    assert json.loads(result.stdout)["from"] == "me"
    assert inbox(session, "backend") == [("me", "line one\nline two")]


def test_json_is_the_agent_itself(session: Session) -> None:
    assert json.loads(session.skill("label", "desk --json"))["label"] == "desk"
    assert json.loads(session.skill("tags", "--add night --json"))["tags"][-1] == "night"


def test_claimable_work_is_offered_to_all_who_match(session: Session) -> None:
    session.skill("send-claimable", "tag:shop 'write a test' --channel ops")
    assert inbox(session, "backend") == inbox(session, "tester") == [("me", "write a test")]


def test_a_pair_lives_and_ends(session: Session) -> None:
    other = Session("tester", session.env)
    assert "me with tester, pending: break the cart; it is there" in session.skill(
        "pair", "tester break the cart"
    )
    assert "pending" in session.skill("pair", "status")
    assert "active" in other.skill("pair", "accept --agent tester")
    session.skill("pair", "send 'go on'")
    assert ("me", "go on") in inbox(session, "tester")
    pair_id = json.loads(session.skill("pair", "status --json"))[0]["id"]
    other.skill("pair", f"send {pair_id} done so far --agent tester")
    assert ("tester", "done so far") in inbox(session, "me")
    assert "ended" in session.skill("disconnect", "")
    assert session.skill("pair", "") == "In no pair.\n"


def test_an_invitation_is_declined_or_taken_back(session: Session) -> None:
    session.skill("pair", "tester")
    assert "rejected" in session.skill("pair", "reject --agent tester")
    pair_id = json.loads(session.skill("pair", "tester again --json"))["id"]
    assert "ended" in session.skill("disconnect", str(pair_id))


def test_a_label_is_given_shown_and_cleared(session: Session) -> None:
    assert session.skill("label", "") == "me: has no label\n"
    assert session.skill("label", "front desk") == "me: label:front desk\n"
    assert session.skill("label", "--clear") == "me: has no label\n"


def test_tags_are_shown_set_added_and_removed(session: Session) -> None:
    assert session.skill("tags", "--list") == "me: codex, codex-live, shop, me\n"
    assert session.skill("tags", "api, review api") == "me: codex, codex-live, shop, api, review\n"
    assert session.skill("tags", "--add night") == "me: codex, codex-live, shop, api, review, night\n"
    assert session.skill("tags", "--remove api,night") == "me: codex, codex-live, shop, review\n"
    assert session.skill("tags", "") == "me: codex, codex-live, shop, review\n"


def test_the_status_says_who_you_are(session: Session) -> None:
    assert session.skill("status", "").splitlines()[-1] == "you         me, idle, hears messages"
    assert json.loads(session.skill("status", "--json"))["agent"]["id"] == "me"
    nobody = {name: value for name, value in session.env.items() if name != "CODEX_THREAD_ID"}
    shown = call("/status", env=nobody)
    assert shown.exit_code == 0
    assert "you" not in shown.stdout


def test_the_slash_may_be_left_out(session: Session) -> None:
    for words in (("/message", "backend", "hello"), ("message", "backend", "hello")):
        assert call(*words, env=session.env).exit_code == 0
    assert len(inbox(session, "backend")) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("/pair accept", "me is not invited to a pair"),
        ("/pair send hello", "me is not in an active pair"),
        ("/disconnect", "me is not in a pair"),
        ("/pair accept me", "'me' is not the number of a pair"),
        ("/pair status now", "'now' is one word too many"),
        ("/pair send", "what is to be sent?"),
        ("/pair accept 99999", "no pair 99999"),
        ("/tags --add", "which tags?"),
        ("/tags --add --remove x", "only one of"),
        ("/tags --list x", "--list takes no tags"),
        ("/label x --clear", "not both"),
        ("/message nobody hello", "no agent 'nobody' is registered"),
        ("/message backend", "Missing argument"),
        ("/nothing", "No such command '/nothing'"),
    ],
)
def test_what_cannot_be_meant_is_said(session: Session, words: str, says: str) -> None:
    result = call(*words.split(), env=session.env)
    assert result.exit_code in {2, 3}
    assert result.stdout == ""
    assert says in result.stderr


def test_outside_a_session_it_says_what_to_do(session: Session) -> None:
    for thread, says in (
        ("", "this is no agent's session"),
        ("no-such-thread", "no agent has registered session"),
    ):
        result = call("/message", "backend", "hi", env=session.env | {"CODEX_THREAD_ID": thread})
        assert result.exit_code == 2
        assert says in result.stderr
        assert "name the agent with --agent" in result.stderr


def test_in_codexs_sandbox_it_names_the_way_out(session: Session) -> None:
    result = call("/message", "backend", "hi", env=session.env | {"AGENT_RELAY_URL": "http://127.0.0.1:9"})
    assert result.exit_code == 4
    assert "use the relay's tools (send_message, reply, pair)" in result.stderr


# Without an id in the environment


def test_a_state_file_that_is_set_names_the_agent(session: Session, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"agentId": "me", "pid": 1}))
    env = session.env | {"CODEX_THREAD_ID": "", "AGENT_RELAY_CODEX_STATE_PATH": str(tmp_path / "state.json")}
    assert call("/label", env=env).stdout == "me: has no label\n"


def test_the_launcher_among_the_parents_names_the_agent(tmp_path: Path) -> None:
    """A launcher has a leash with a sidecar, and, elsewhere below it, a shell; beside it is another session's."""
    runs = tmp_path / "runs"
    with subprocess.Popen(
        [sys.executable, "-c", _LEASH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as leash:
        assert leash.stdout is not None
        sidecar = int(leash.stdout.readline())
        for name, state in (
            ("mine", json.dumps({"agentId": "mine", "pid": sidecar})),
            ("gone", json.dumps({"agentId": "gone", "pid": 2**22 + 1})),
            ("broken", "{"),
        ):
            (runs / name).mkdir(parents=True)
            (runs / name / "sidecar.json").write_text(state)
        shell = subprocess.run([sys.executable, "-c", _WHO, runs], capture_output=True, text=True, check=True)
        assert shell.stdout == "mine\n"
        # The person's own shell is one further up: nothing follows from it.
        assert agent_of_parents(runs, list(parents(sidecar))[3]) is None


#: Ends, with its child, when its input does.
_LEASH = (
    "import subprocess, sys\n"
    "child = subprocess.Popen(['cat'], stdin=0, stdout=subprocess.DEVNULL)\n"
    "print(child.pid, flush=True)\n"
    "child.wait()"
)
_WHO = (
    "import os, sys\n"
    "from pathlib import Path\n"
    "from trio_relay.cli.shared.session import agent_of_parents\n"
    "print(agent_of_parents(Path(sys.argv[1]), os.getpid()))"
)
