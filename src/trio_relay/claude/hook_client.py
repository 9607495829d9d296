"""What Claude Code runs for a hook: it hands the event to the session's keeper over a socket and says what that answers.

Run by path with ``python -I -S``, so it stays in the standard library and imports little: Claude Code waits for most
hooks, and starting Python takes 20 ms. Nothing is decided here. Where no keeper answers in time the hook is silent
and well: no session suffers from a relay that is away, or from us.

    hook_client.py EVENT          a hook; what Claude Code says is on standard input
    hook_client.py wait COMMAND   the waiter of a Claude Code without monitors (an asyncRewake hook): it says on standard
                                  error what there is to read and exits with 2, which wakes the session. Where no
                                  keeper is, COMMAND starts one.

A session is known by its Claude Code process: its id changes with /clear and /resume, the process stays
(2.1.197 and 2.1.329). The socket is named after the process, in a directory that is its user's alone.
"""

import os
import socket
import stat
import sys
import time
from typing import Any, NoReturn

#: Seconds each hook may take. SessionEnd: 2.1.329 gives all hooks together 1.5 s, whatever hooks.json says. A person
#: answers a permission request in their own time; Claude Code ends the hook when its time-out is over.
PATIENCE = {"SessionStart": 3.0, "SessionEnd": 1.0, "PermissionRequest": None, "wait": None}
_USUALLY = 1.5
#: Seconds a session that starts is given to have a keeper: monitors start 0.3 s after the SessionStart hook.
_STARTING = 2.5
#: The first Claude Code whose monitors need no flag of Anthropic's.
MONITORS_SINCE = (2, 1, 310)
#: Above that monitor's own start, so that a waiter starts no keeper beside one.
_MONITOR_FIRST = 3.0
_PAUSE = 0.05
#: How many generations of shells and wrappers may stand between a hook and Claude Code.
_GENERATIONS = 8


def socket_path(pid: int) -> str:
    """Where the keeper of the Claude Code process `pid` listens. A path of a socket must be short: not in the home."""
    return f"/tmp/trio-relay-{os.getuid()}/claude-{pid}.sock"  # noqa: S108  # its owner is looked at


def is_private(path: str) -> bool:
    """Whether the directory of a socket is ours and nobody else can enter it."""
    try:
        found = os.lstat(os.path.dirname(path))  # noqa: PTH120  # pathlib takes 10 ms
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def claude_pid(environ: "os._Environ[str] | dict[str, str]", start: int) -> int | None:
    """The Claude Code process of this session: it says so itself (2.1.329), else it is among the parents of `start`."""
    said = environ.get("CLAUDE_PID", "")
    if said.isdecimal():
        return int(said)
    pid = start
    for _ in range(_GENERATIONS):
        name, parent = _process(pid)
        if name == "claude":
            return pid
        if parent is None or parent <= 1:
            return None
        pid = parent
    return None


def _process(pid: int) -> tuple[str, int | None]:
    """The name and the parent of a process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            head, _, rest = file.read().rpartition(b")")
        return head.partition(b"(")[2].decode(errors="replace"), int(rest.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:  # no /proc: macOS
        with os.popen(f"ps -o ppid=,ucomm= -p {pid}") as output:  # noqa: S605  # a number
            parent, _, name = output.read().strip().partition(" ")
        return name.strip(), int(parent)
    except (OSError, ValueError):
        return "", None


def version(environ: "os._Environ[str] | dict[str, str]") -> tuple[int, ...] | None:
    """The version of Claude Code (2.1.197 and 2.1.329 say ``AI_AGENT=claude-code_2-1-329_harness``)."""
    parts = environ.get("AI_AGENT", "").split("_")
    numbers = parts[1].split("-") if len(parts) > 1 and parts[0] == "claude-code" else []
    return tuple(map(int, numbers)) if numbers and all(one.isdecimal() for one in numbers) else None


def is_attended(environ: "os._Environ[str] | dict[str, str]") -> bool:
    """Whether somebody sits at the session. ``claude -p`` is over with its answer: nothing can be delivered into it."""
    entry = environ.get("CLAUDE_CODE_ENTRYPOINT") == "cli"
    return entry and environ.get("CLAUDE_CODE_SESSION_ATTENDED", "1") != "0"


def ask(pid: int, event: str, said: str, starting: float = 0.0) -> dict[str, Any] | None:
    """Tell the keeper of a session what happened: its answer, None where there is no keeper or it takes too long.

    `starting`: seconds the keeper may take to be there.
    """
    import json  # noqa: PLC0415  # 4 ms, not for those who ask nobody

    path = socket_path(pid)
    patience = PATIENCE.get(event, _USUALLY)
    until = time.monotonic() + starting
    connection = socket.socket(socket.AF_UNIX)
    while True:
        try:
            if not is_private(path):
                raise FileNotFoundError
            connection.connect(path)
            break
        except OSError:
            if time.monotonic() >= until:
                return None
            time.sleep(_PAUSE)
    try:
        connection.settimeout(patience)
        connection.sendall(json.dumps({"event": event, "input": said}).encode() + b"\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        found = json.loads(answer)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _wait(pid: int, said: str, command: list[str]) -> dict[str, Any] | None:
    """Wait for what there is to read, with a keeper that is started where none is."""
    known = version(os.environ)
    if not is_attended(os.environ) or (known is not None and known >= MONITORS_SINCE):
        return None
    answer = ask(pid, "wait", said, _MONITOR_FIRST)
    if answer is None and command and _lives(pid) and _begin(command):
        answer = ask(pid, "wait", said, 10.0)
    return answer


def _has_monitors() -> bool:
    """Whether a keeper comes by itself. Where a waiter starts it, the session is told who it is with its first prompt."""
    known = version(os.environ)
    return is_attended(os.environ) and (known is None or known >= MONITORS_SINCE)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _begin(command: list[str]) -> bool:
    """Start a keeper that outlives this hook. It ends with its Claude Code."""
    import subprocess  # noqa: PLC0415  # rarely

    try:
        subprocess.Popen(  # noqa: S603  # our own program, as hooks.json names it
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    return True


def _export(names: dict[str, str]) -> None:
    """Have later commands of the session see some variables; Claude Code names the file at SessionStart only."""
    path = os.environ.get("CLAUDE_ENV_FILE")
    if path and names:
        import shlex  # noqa: PLC0415  # once a session

        with open(path, "a") as file:  # noqa: PTH123
            file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in names.items())


def main(arguments: list[str]) -> int:
    """Serve one hook; the exit code Claude Code is told."""
    event = arguments[0]
    said = "" if sys.stdin is None else sys.stdin.buffer.read().decode(errors="replace")
    pid = claude_pid(os.environ, os.getppid())
    if pid is None:
        return 0
    if event == "wait":
        answer = _wait(pid, said, arguments[1:])
    else:
        answer = ask(pid, event, said, _STARTING if event == "SessionStart" and _has_monitors() else 0.0)
    if answer is None:
        return 0
    _export(answer.get("env") or {})
    sys.stdout.write(answer.get("out") or "")
    sys.stderr.write(answer.get("err") or "")
    return int(answer.get("code") or 0)


def _run() -> NoReturn:
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # noqa: BLE001  # whatever is wrong with us is not the session's business
        code = 0
    os._exit(code)


if __name__ == "__main__":
    _run()
