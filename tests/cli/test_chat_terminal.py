"""The real thing: ``chat`` at a terminal of 80 columns, in a pipe, and ``send --wait`` with its live ladder."""

import json
import subprocess
import sys
from pathlib import Path

import trio

from support.commands import ServingRelay, clean_environment, run_command
from support.tmux import terminal
from trio_relay.client import RelayClient
from trio_relay.core.model import AgentStatus, Rung
from trio_relay.core.wire import AgentRegistration, Message, SendRequest

PROGRAM = [sys.executable, "-m", "trio_relay"]
ME = "ann@desk"


async def sent_by(relay: RelayClient, sender: str, body: str) -> Message:
    """Wait for a message."""

    async def find() -> Message | None:
        found = await relay.browse(**{"from": sender})
        return next((each for each in found if each.body == body), None)

    with trio.fail_after(60):
        while (message := await find()) is None:
            await trio.sleep(0.05)
        return message


async def test_a_person_chats_and_leaves_the_terminal_as_it_was(relay: ServingRelay, tmp_path: Path) -> None:
    env = clean_environment(tmp_path, AGENT_RELAY_URL=relay.url, PS1="$ ")
    async with (
        RelayClient.open(relay.url) as room,
        terminal(["/bin/sh", "-i"], env=env, cwd=tmp_path, width=80, height=24) as screen,
    ):
        await room.register(AgentRegistration(id="bob", status=AgentStatus.IDLE, ready=True))
        await screen.type(" ".join([*PROGRAM, "chat", "bob", "--from", ME]))
        await screen.shows("talking to bob (idle)")
        assert (await room.agent(ME)).status is AgentStatus.IDLE
        await screen.write("is the migration")
        await screen.shows("> is the migration")
        await room.send(SendRequest(sender="bob", to=ME, body="I am\nthere"))
        # What is typed stands below what came.
        await screen.shows("  there\n> is the migration")
        await screen.type(" done?")
        question = await sent_by(room, ME, "is the migration done?")
        # A prompt of its own stands below it: what is told from now on is told above that.
        await screen.shows("> is the migration done?\n> ")
        assert (question.authority, question.reply_to is not None) == ("human", True)
        await room.report(question.id, "bob", Rung.HANDED_OFF, {})
        await screen.shows(f"[{question.id}] handed_off after")
        await room.report(question.id, "bob", Rung.IN_CONTEXT, {})
        shown = await screen.shows(f"[{question.id}] in_context after")
        assert "handed_off" not in shown, "the line of a message is written anew"
        await room.send(SendRequest(sender="bob", to=ME, body="Yes.", reply_to=question.id))
        await screen.shows("  Yes.\n> ")
        await screen.press("C-d")
        await screen.shows("Yes.\n> \n$ ")
        await screen.type("echo CODE $?; stty -a | grep -o ' echo '")
        await screen.shows("CODE 0\n echo")
        assert (await room.agent(ME)).status is AgentStatus.OFFLINE
        await screen.type(" ".join(["clear;", *PROGRAM, "chat", "bob", "--from", "ann"]))
        await screen.shows("You are ann, talking to bob (idle)")
        await screen.write("never mind")
        # A terminal throws away what nobody has read yet when it signals Ctrl-C.
        await screen.shows("> never mind")
        await screen.press("C-c")
        await screen.shows("> never mind\n$ ")
        await screen.type("echo CODE $?; stty -a | grep -o ' echo '")
        shown = await screen.shows("CODE 130\n echo")
        assert "Traceback" not in shown


async def test_a_script_asks_through_a_pipe(relay: ServingRelay, tmp_path: Path) -> None:
    env = clean_environment(tmp_path, AGENT_RELAY_URL=relay.url)
    async with RelayClient.open(relay.url) as room, trio.open_nursery() as nursery:
        await room.register(AgentRegistration(id="bob", status=AgentStatus.IDLE, ready=True))
        outcome: list[subprocess.CompletedProcess[bytes]] = []

        async def ask() -> None:
            command = [*PROGRAM, "chat", "bob", "--from", "script"]
            outcome.append(
                await trio.run_process(
                    command,
                    stdin=b"which port?\n",
                    capture_stdout=True,
                    capture_stderr=True,
                    env=env,
                    cwd=tmp_path,
                )
            )

        nursery.start_soon(ask)
        question = await sent_by(room, "script", "which port?")
        await room.send(SendRequest(sender="bob", to="script", body="5432", reply_to=question.id))
    [done] = outcome
    assert done.stdout.decode().endswith("\n  5432\n")
    assert b"\x1b" not in done.stdout
    assert done.stderr == b""


async def test_a_ladder_is_shown_live_and_in_place(relay: ServingRelay, tmp_path: Path) -> None:
    env = clean_environment(tmp_path, AGENT_RELAY_URL=relay.url)
    async with RelayClient.open(relay.url) as room:
        await room.register(AgentRegistration(id="bob", status=AgentStatus.IDLE, ready=True))
        command = [*PROGRAM, "send", "bob", "climb", "--from", "ann", "--wait", "answered"]
        async with terminal(command, env=env, cwd=tmp_path, width=80, height=24) as screen:
            message = await sent_by(room, "ann", "climb")
            await room.report(message.id, "bob", Rung.HANDED_OFF, {})
            await screen.shows("bob  queued → handed_off")
            await room.send(SendRequest(sender="bob", to="ann", body="At the top.", reply_to=message.id))
            shown = await screen.shows("EXIT 0")
    assert shown.count("bob  queued") == 1
    assert "At the top." in shown


def test_following_ends_in_good_order_when_its_reader_leaves(relay: ServingRelay, tmp_path: Path) -> None:
    env = clean_environment(tmp_path, AGENT_RELAY_URL=relay.url)
    for _ in range(2):
        run_command("send", ME, "one", "--from", "bob", "--allow-unknown", env=env, cwd=tmp_path)
    line = f"{' '.join(PROGRAM)} inbox --agent {ME} --follow --json | head -1"
    run_command("inbox", "--agent", ME, env=env, cwd=tmp_path)
    with subprocess.Popen(
        ["/bin/sh", "-c", line],
        env=env,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        # Who writes learns that nobody reads when there is something to write.
        for _ in range(200):
            if following.poll() is not None:
                break
            run_command("send", ME, "more", "--from", "bob", "--allow-unknown", env=env, cwd=tmp_path)
        else:
            following.kill()
        stdout, stderr = following.communicate(timeout=60)
    assert (following.returncode, json.loads(stdout)["body"], stderr) == (0, "one", "")
