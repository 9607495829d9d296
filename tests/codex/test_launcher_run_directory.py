import subprocess
import sys
from pathlib import Path

import pytest

from trio_relay.codex.run_directory import run_directory, stale_runs

HOLD = """
import sys
from pathlib import Path
from trio_relay.codex.run_directory import run_directory
with run_directory(Path(sys.argv[1])) as run:
    print(run.path, flush=True)
    sys.stdin.read()
"""


def test_it_is_for_its_user_alone_and_gone_afterwards(tmp_path: Path) -> None:
    parent = tmp_path / "state" / "runs"
    with run_directory(parent) as run:
        assert run.path.stat().st_mode & 0o777 == 0o700
        assert run.token_file.stat().st_mode & 0o777 == 0o600
        assert len(run.token_file.read_text()) >= 32
        with run_directory(parent) as other:
            assert other.path != run.path
            assert other.token_file.read_text() != run.token_file.read_text()
        assert run.path.exists()
    assert list(parent.glob("*/")) == []


def test_it_is_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_directory(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.glob("*/")) == []


def test_what_a_killed_launcher_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout is not None
        left = Path(launcher.stdout.readline().strip())
        assert stale_runs(tmp_path) == []
        with run_directory(tmp_path):
            assert left.exists(), "its launcher lives"
        launcher.kill()
    assert stale_runs(tmp_path) == [left]
    with run_directory(tmp_path) as run:
        assert list(tmp_path.glob("*/")) == [run.path]


def test_last_words_are_the_last_line_of_a_log(tmp_path: Path) -> None:
    with run_directory(tmp_path) as run:
        assert run.last_words("sidecar") == ""
        run.log("sidecar").write_text("one\n  two  \n\n")
        assert run.last_words("sidecar") == "two"
