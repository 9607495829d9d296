"""The alias in a start-up file: between two marks, run by the real shells, gone without a trace."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.codex_setup import everything_in, home_in
from support.commands import clean_environment
from trio_relay.codex.as_codex import is_for_codex_alone
from trio_relay.codex.setup.alias import SHELLS, command_of, has_alias, shell_of, with_alias, without_alias
from trio_relay.codex.setup.install import Plan, alias_removal_steps, alias_steps, plan_uninstall, take_out
from trio_relay.errors import Invalid

PROGRAM = Path("/home/a person's/.local/bin/codex-relay")


@given(before=st.text(), after=st.text())
def test_it_comes_and_goes_and_leaves_every_other_byte(before: str, after: str) -> None:
    if "trio-relay" in before + after:
        return
    text = with_alias(before, PROGRAM)
    assert has_alias(text)
    assert with_alias(text, PROGRAM) == text
    assert command_of(text) == str(PROGRAM)
    ended = before if before.endswith("\n") or not before else f"{before}\n"
    assert without_alias(text + after) == ended + after


@pytest.mark.parametrize("name", SHELLS)
def test_every_shell_has_its_file(tmp_path: Path, name: str) -> None:
    home = home_in(tmp_path / "home")
    shell = shell_of(f"/usr/bin/{name}", home=tmp_path / "home")
    Plan(home, alias_steps(home, shell)).take()
    assert has_alias(shell.file.read_text())
    assert alias_steps(home, shell) == []
    Plan(home, alias_removal_steps(home)).take()
    assert not shell.file.exists()
    take_out(plan_uninstall(home, purge=False))
    assert everything_in(tmp_path / "home") == {}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_itself_starts_codex_relay(tmp_path: Path, shell: str) -> None:
    program = tmp_path / "it's a codex-relay"
    program.write_text('#!/bin/sh\necho "codex-relay $*"\n')
    program.chmod(0o755)
    text = with_alias("", program)
    if shutil.which(shell) is None:
        shell = "bash"  # all three read the same line
    (tmp_path / "rc").write_text(f"shopt -s expand_aliases\n{text}" if shell == "bash" else text)
    (tmp_path / "script").write_text(f". {tmp_path}/rc\ncodex resume --last\n")
    done = subprocess.run(
        [shell, tmp_path / "script"],
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "codex-relay --as-codex -- resume --last\n"


def test_a_file_that_was_edited_meanwhile_keeps_the_edits(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    file = tmp_path / "home/.bashrc"
    file.write_text("export A=1")
    file.chmod(0o640)
    Plan(home, alias_steps(home, shell_of("bash", home=tmp_path / "home"))).take()
    file.write_text(file.read_text() + "export B=2\n")
    Plan(home, alias_removal_steps(home)).take()
    assert file.read_text() == "export A=1\nexport B=2\n"
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_shell_we_do_not_know_is_named() -> None:
    with pytest.raises(Invalid, match="'tcsh'"):
        shell_of("/bin/tcsh", home=Path("/home"))


@pytest.mark.parametrize(
    ("given_arguments", "alone"),
    [
        ((), False),
        (("fix the build",), False),
        (("resume", "--last"), False),
        (("-m", "gpt-5"), False),
        (("--", "--help"), False),
        (("exec", "do it"), True),
        (("login",), True),
        (("--version",), True),
        (("mcp", "--help"), True),
        (("--add-dir", "/x"), True),
    ],
)
def test_what_opens_no_session_is_for_codex_alone(given_arguments: tuple[str, ...], alone: bool) -> None:
    assert is_for_codex_alone(given_arguments) is alone
