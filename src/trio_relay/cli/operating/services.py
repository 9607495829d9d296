"""The relay as a service of a person's own: the files that say so, and the commands of whoever starts services here.

systemd's user services and launchd's agents. Each file begins with a line that marks it as ours; one without is left
alone. Nothing here runs a command or writes a file: `Service` says which, `trio-relay daemon` does it or shows it.
"""

import plistlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers.expat import ExpatError

#: What a file of ours says, whatever else is in it.
MARK = "Managed by trio-relay"
_ABOUT = f"{MARK}: `trio-relay daemon install` writes this file, `trio-relay daemon uninstall` removes it."
#: Seconds a relay has to end; it needs less than one.
_STOP = 30
#: Exit codes after which starting it again would change nothing (cli/shared/failures.py): bad settings, a database in use.
_FINAL = (2, 3)
Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to run: the relay's command, with the file of its settings."""

    command: tuple[str, ...]
    env_file: Path

    @property
    def whole(self) -> list[str]:
        """The command as it is started."""
        return [*self.command, "serve", "--quiet", "--env-file", str(self.env_file)]


@dataclass(frozen=True, slots=True)
class Service:
    """One way to have a service: its file, and the commands for everything that can be asked of it.

    `fresh` says how a service whose file is new begins to run; where one of them may fail, it stands in `may_fail`.
    """

    kind: str
    file: Path
    content: bytes
    install: tuple[Command, ...]
    uninstall: tuple[Command, ...]
    after_removal: tuple[Command, ...]
    start: tuple[Command, ...]
    stop: tuple[Command, ...]
    restart: tuple[Command, ...]
    enable: tuple[Command, ...]
    disable: tuple[Command, ...]
    #: Its output is for `is_running`.
    state: Command
    may_fail: frozenset[Command] = frozenset()
    #: The log is here; None: it is the journal's.
    log_file: Path | None = None

    def logs(self, lines: int, *, follow: bool) -> Command:
        """Show the end of the log."""
        if self.log_file is not None:
            return ("tail", "-n", str(lines), *(["-f"] if follow else []), str(self.log_file))
        pages = ["-f"] if follow else ["--no-pager"]
        return ("journalctl", "--user", "--unit", self.file.name, "--lines", str(lines), *pages)

    def is_running(self, said: str) -> bool:
        """Read what `state` has said."""
        words = said.replace("=", " = ").split()
        return any(
            words[at : at + 3] in (["ActiveState", "=", "active"], ["state", "=", "running"])
            for at in range(len(words))
        )


UNIT = "trio-relay.service"
LABEL = "trio-relay"


def systemd(wish: Wish, config: Path) -> Service:
    """A user service of systemd; `config` is the person's configuration directory (``~/.config``)."""

    def ctl(*words: str) -> Command:
        return ("systemctl", "--user", *words)

    gone = ctl("reset-failed", UNIT)
    return Service(
        kind="systemd",
        file=config / "systemd" / "user" / UNIT,
        content=unit(wish).encode(),
        install=(ctl("daemon-reload"), ctl("enable", UNIT), ctl("restart", UNIT)),
        uninstall=(ctl("disable", "--now", UNIT),),
        after_removal=(ctl("daemon-reload"), gone),
        start=(ctl("start", UNIT),),
        stop=(ctl("stop", UNIT),),
        restart=(ctl("restart", UNIT),),
        enable=(ctl("enable", UNIT),),
        disable=(ctl("disable", UNIT),),
        state=ctl("show", "--property", "ActiveState,SubState,MainPID,UnitFileState", UNIT),
        may_fail=frozenset({gone}),
    )


def unit(wish: Wish) -> str:
    """Write the unit. ``Type=notify``: it counts as started once it serves, and a start that fails says so."""
    return f"""\
# {_ABOUT}
# What you add with `systemctl --user edit {UNIT.removesuffix(".service")}` stands in a file of its own and stays.

[Unit]
Description=trio-relay, a message room for coding agents
StartLimitIntervalSec=120
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={" ".join(quoted(word) for word in _startable(wish.whole))}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
RestartPreventExitStatus={" ".join(map(str, _FINAL))}
TimeoutStartSec=600
TimeoutStopSec={_STOP}
LimitNOFILE=65536
UMask=0077
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""


def _startable(words: list[str]) -> list[str]:
    # systemd (252) takes no program whose path holds a quote or a backslash, and reads no $ there; arguments may.
    return ["/usr/bin/env", *words] if any(each in words[0] for each in "\"'\\$") else words


def quoted(word: str) -> str:
    r"""Write a word for ``ExecStart=``: systemd reads ``\``, quotes, ``%`` and ``$`` in its own ways (systemd.service(5))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or any(each in word for each in " \t'") or not word else word


def launchd(wish: Wish, home: Path, uid: int) -> Service:
    """An agent of launchd; `home` is the person's home directory."""
    logs = home / "Library" / "Logs" / "trio-relay" / "relay.log"
    file = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    domain, target = f"gui/{uid}", f"gui/{uid}/{LABEL}"
    out = ("launchctl", "bootout", target)
    into = ("launchctl", "bootstrap", domain, str(file))
    return Service(
        kind="launchd",
        file=file,
        content=plist(wish, logs),
        install=(out, ("launchctl", "enable", target), into),
        uninstall=(out,),
        after_removal=(),
        start=(("launchctl", "kickstart", target),),
        stop=(("launchctl", "kill", "SIGTERM", target),),
        restart=(("launchctl", "kickstart", "-k", target),),
        enable=(("launchctl", "enable", target),),
        disable=(("launchctl", "disable", target),),
        state=("launchctl", "print", target),
        may_fail=frozenset({out}),
        log_file=logs,
    )


def plist(wish: Wish, log_file: Path) -> bytes:
    """Write the property list; a comment of its own bears the mark, which launchd does not read."""
    content = plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": wish.whole,
            "RunAtLoad": True,
            # It goes on after a crash, and stays down when it was stopped.
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ExitTimeOut": _STOP,
            "StandardOutPath": str(log_file),
            "StandardErrorPath": str(log_file),
            "SoftResourceLimits": {"NumberOfFiles": 65_536},
            "Umask": 0o077,
        },
        sort_keys=False,
    )
    head, line, rest = content.partition(b"\n")
    return head + line + f"<!-- {_ABOUT} -->\n".encode() + rest


def is_ours(content: bytes) -> bool:
    """Whether a file was written by us, of whatever version."""
    return MARK.encode() in content[:1000]


def env_file_of(kind: str, content: bytes) -> Path | None:
    """Where the settings are that a file of ours names; None: it names none, or cannot be read."""
    try:
        if kind == "launchd":
            words = [str(word) for word in plistlib.loads(content)["ProgramArguments"]]
        else:
            (line,) = re.findall(r"^ExecStart=(.*)$", content.decode(), re.MULTILINE)
            words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]
        return Path(words[words.index("--env-file") + 1])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, ExpatError):
        return None


def shown(commands: Sequence[Command]) -> list[str]:
    """Write commands as one would type them."""
    return [shlex.join(each) for each in commands]
