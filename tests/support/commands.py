"""The command line as a user calls it: in this process through click, or as a process with a home of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from trio_relay.cli.main import cli


def call(*arguments: str, env: Mapping[str, str] | None = None, stdin: str | None = None) -> Result:
    """Run a command in this process. A bug's exception is raised here, not swallowed."""
    runner = CliRunner()
    result = runner.invoke(cli, arguments, env=dict(env or {}), input=stdin, prog_name="trio-relay")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment with an empty home and none of our settings; the code is the one under test, also a broken one."""
    code = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **code, **more}


def run_command(*arguments: str, env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a process, to its end."""
    command = [sys.executable, "-m", "trio_relay", *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


@dataclass(frozen=True)
class ServingRelay:
    """A relay in a process of its own, and what it said when it came up."""

    url: str
    greeting: str
    process: subprocess.Popen[str]

    def stop(self) -> int:
        """Send SIGTERM and give the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextmanager
def serving_relay(
    *arguments: str, env: Mapping[str, str], cwd: Path, python: str = sys.executable
) -> Iterator[ServingRelay]:
    """Run ``trio-relay serve`` on a free port while the block runs; its log goes to ``serve.log`` in `cwd`."""
    command = [python, "-m", "trio_relay", "serve", "--port", "0", *arguments]
    log = cwd / "serve.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        lines: list[str] = []
        try:
            for line in process.stdout:
                lines.append(line)
                if " --help " in line:
                    break
            else:
                raise AssertionError(f"the relay did not come up:\n{log.read_text()}")
            [page] = [line for line in lines if line.startswith("  page ")]
            yield ServingRelay(page.split()[1], "".join(lines), process)
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=60)
