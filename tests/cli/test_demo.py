"""``trio-relay demo``: what a newcomer sees first."""

from pathlib import Path

from support.commands import clean_environment, run_command
from support.tmux import terminal
from trio_relay.cli.shared.programs import own_command

ENDINGS = [
    "5 messages, 5 deliveries settled.",
    "1  anna → ben  Hello Ben!",
    "3  anna → cap:sums  For exactly one of you: add up 1 to 100. (answers 2)",
    "   done, by ben alone",
    "4  ben → anna  Done: it is 5050. (answers 3)",
    "○ answered ● settled",  # thanks need no answer, and none is claimed
]


def test_it_ends_by_itself_and_leaves_nothing(tmp_path: Path) -> None:
    done = run_command("demo", env=clean_environment(tmp_path, TMPDIR=str(tmp_path)), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [ending for ending in ENDINGS if ending not in done.stdout] == []
    assert "○ accepted" not in done.stdout
    assert list(tmp_path.iterdir()) == []


async def test_on_a_terminal_it_fits_80_columns(tmp_path: Path) -> None:
    env = clean_environment(tmp_path, TMPDIR=str(tmp_path))
    command = [*own_command().split(), "demo"]
    async with terminal(command, env=env, cwd=Path.cwd(), width=80, height=26) as screen:
        shown = await screen.shows("EXIT 0")
    assert [ending for ending in ENDINGS if ending not in shown] == []
    assert shown.count("trio-relay demo  a relay at") == 1  # redrawn in place, not scrolled


async def test_ctrl_c_stops_it_quietly(tmp_path: Path) -> None:
    env = clean_environment(tmp_path, TMPDIR=str(tmp_path), PS1="ready> ")
    async with terminal(["/bin/sh", "-i"], env=env, cwd=Path.cwd(), width=80, height=26) as screen:
        await screen.shows("ready> ")
        await screen.type(f"{own_command()} demo")
        await screen.shows("anna → ben")
        await screen.press("C-c")
        await screen.shows("\nready> ")
        await screen.type("echo CODE $?")
        shown = await screen.shows("CODE 130")
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []
