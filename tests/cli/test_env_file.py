"""The file of this machine's settings: what a line means, and who finds the token in it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.commands import call
from trio_relay.cli.shared import env_file
from trio_relay.cli.shared.credentials import known_token
from trio_relay.cli.shared.env_file import env_line, read_env_file
from trio_relay.errors import Invalid


def read(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "relay.env"
    file.write_text(text)
    return read_env_file(file)


def test_lines_are_names_and_values(tmp_path: Path) -> None:
    text = """
# a comment
HOST=127.0.0.1
  export PORT = 4850
DB_PATH="/a b/relay.db"
A='"'
B=[{"name": "ci", "token": "x#y"}]
C=
HOST=::1
"""
    assert read(tmp_path, text) == {
        "HOST": "::1",
        "PORT": "4850",
        "DB_PATH": "/a b/relay.db",
        "A": '"',
        "B": '[{"name": "ci", "token": "x#y"}]',
        "C": "",
    }


@pytest.mark.parametrize("line", ["HOST", "1A=b", "A B=c", "=x", "s3cret", "A-B=s3cret"])
def test_a_line_that_is_none_is_named_without_its_content(tmp_path: Path, line: str) -> None:
    with pytest.raises(Invalid, match="line 2: expected NAME=value") as refused:
        read(tmp_path, f"HOST=x\n{line}\n")
    assert "s3cret" not in refused.value.detail


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "relay.env"
    if content is not None:
        file.write_bytes(content)
    result = call("serve", "--env-file", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(file) in result.stderr
    assert result.stderr.count("\n") == 1


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])))
def test_what_is_written_is_read_again(value: str) -> None:
    line = env_line("NAME", value)
    found = env_file._LINE.fullmatch(line.strip())  # a file each would be slow
    assert found is not None
    assert env_file._unquoted(found[2].strip()) == value


def test_a_value_of_two_lines_is_not_written() -> None:
    with pytest.raises(Invalid, match="line end"):
        env_line("NAME", "a\nb")


@pytest.mark.parametrize(
    ("settings", "url", "known"),
    [
        ("", "http://127.0.0.1:4850", True),
        ("", "http://localhost:4850/", True),
        ("", "http://[::1]:4850", True),
        ("PORT=5000\n", "http://127.0.0.1:5000", True),
        ("PORT=5000\n", "http://127.0.0.1:4850", False),
        ("HOST=0.0.0.0\n", "http://127.0.0.1:4850", True),
        ("HOST=10.0.0.5\n", "http://10.0.0.5:4850", True),
        ("HOST=10.0.0.5\n", "http://127.0.0.1:4850", False),
        ("", "https://127.0.0.1:4850", False),
        ("", "http://relay.example:4850", False),
        ("", "http://127.0.0.1:99999", False),
        ("nonsense\n", "http://127.0.0.1:4850", False),
    ],
)
def test_the_token_is_given_to_the_relay_that_was_set_up_here_and_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, url: str, *, known: bool
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    file = env_file.env_file()
    file.parent.mkdir(parents=True)
    file.write_text(f"{settings}AGENT_RELAY_TOKEN=s3cret\n")
    assert known_token(url) == ("s3cret" if known else None)
