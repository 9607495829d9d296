"""A child process on a leash: it ends when whoever holds the other end of a pipe lets go, or dies.

Run by path (``python -I -S leash.py FD GRACE KIND COMMAND…``), never imported: it needs nothing but the standard
library, starts in 15 ms and costs 8 MB. FD is the read end of a pipe whose only write end is in the launcher, so
that kill -9 of the launcher lets go as surely as a proper stop does; there is one way to end, and it is always used.

Letting go means: SIGTERM to the child, a second one after GRACE seconds (Codex's app-server drains at the first,
which may take for ever, and leaves at once at the second), and after GRACE more SIGKILL to the child with everything
that descends from it. ``codex`` from npm is a node wrapper: killed, it would leave the native program behind.

KIND is ``group`` (the leash and its child are a process group of their own, made by the launcher) or ``terminal``
(they share the launcher's, as a program in the foreground of a terminal must). In a terminal, its settings are put
back when the child was killed before it could do so itself.

The exit code is the child's, or 128 + N when signal N ended it.
"""

import os
import select
import signal
import sys

#: Leave bracketed paste, focus and mouse reports, keyboard protocols and the alternate screen; show the cursor.
_PLAIN_TERMINAL = b"\x1b[?2004l\x1b[?1004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[<u\x1b[>4;0m\x1b[?1049l\x1b[?25h\r\n"


def main(argv: list[str]) -> int:
    """Run the command in `argv` until it ends or the leash is let go; its exit code."""
    leash, grace, kind, command = int(argv[0]), float(argv[1]), argv[2], argv[3:]
    os.set_inheritable(leash, False)
    woken = _wake_on_signals()
    settings = _terminal_settings() if kind == "terminal" else None
    try:
        child = os.posix_spawnp(command[0], command, os.environ)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 127
    code = os.waitstatus_to_exitcode(_watch(child, leash, woken, grace))
    if code >= 0:
        return code
    if settings is not None:
        _restore_terminal(settings)
    if kind == "group":  # a killed wrapper leaves its program: end the group, ourselves included
        os.killpg(0, signal.SIGKILL)
    return 128 - code


def _wake_on_signals() -> int:
    """Have signals written to a pipe, its read end returned.

    What a terminal sends to its whole foreground group is the child's to obey, not ours. Handlers, unlike SIG_IGN,
    are not inherited by the child.
    """
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for one in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(one, lambda *_: None)
    return woken


def _watch(child: int, leash: int, woken: int, grace: float) -> int:
    """Wait for the child to end, ending it step by step once the leash is let go. Its wait status."""
    steps = iter((signal.SIGTERM, signal.SIGTERM))
    letting_go = False
    while True:
        ready, _, _ = select.select(
            [woken] if letting_go else [woken, leash], [], [], grace if letting_go else None
        )
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        signals = os.read(woken, 512) if woken in ready else b""
        if leash in ready or signal.SIGTERM in signals or not ready:
            letting_go = True
            step = next(steps, None)
            if step is None:
                _kill_family(child)
            else:
                os.kill(child, step)


def _kill_family(child: int) -> None:
    """SIGKILL `child` and all its descendants, also those in sessions of their own (commands of the model)."""
    import subprocess  # noqa: PLC0415  # slow to import and rarely needed

    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False)  # noqa: S607
    children: dict[int, list[int]] = {}
    for line in listing.stdout.splitlines():
        pid, parent = map(int, line.split())
        children.setdefault(parent, []).append(pid)
    family = [child]
    for member in family:
        family.extend(children.get(member, ()))
    for member in family:
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _terminal_settings() -> list[object] | None:
    import termios  # noqa: PLC0415  # only where there is a terminal

    try:
        return list(termios.tcgetattr(0))
    except termios.error:
        return None


def _restore_terminal(settings: list[object]) -> None:
    import termios  # noqa: PLC0415

    try:
        if (
            os.tcgetpgrp(0) == os.getpgrp()
        ):  # else a shell has taken the terminal back, with settings of its own
            termios.tcsetattr(0, termios.TCSADRAIN, settings)  # type: ignore[arg-type]
        os.write(1, _PLAIN_TERMINAL)
    except (termios.error, OSError):
        return  # the terminal itself has gone


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
