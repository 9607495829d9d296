"""What the user's own Codex arguments decide, and the command lines made of the rest. Pure.

The user's arguments are passed on as they are. Only what they leave open is filled in: the working directory, and the
permissions (``--ask-for-approval never --sandbox workspace-write``, unless an approval mode says otherwise). Flags are those of Codex 0.169.
"""

import itertools
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from trio_relay.core.approval import Approval, Permissions, permissions
from trio_relay.errors import Invalid

#: The permissions where nobody chose any: work inside the workspace, without asking.
DEFAULT = permissions(Approval.OPEN)
#: Where the TUI finds the app-server's token: the name of a variable of its environment.
TOKEN_VARIABLE = "CODEX_RELAY_APP_SERVER_TOKEN"  # noqa: S105  # a name, no secret

#: The MCP server by which the model reaches the relay, as Codex's configuration names it. Not ``relay``, which a
#: person may have configured for themselves.
MCP_SERVER = "trio_relay"
#: Where the app-server finds the token for it: the name of a variable of its environment.
MCP_TOKEN_VARIABLE = "CODEX_RELAY_MCP_TOKEN"  # noqa: S105  # a name, no secret

#: Commands that open a session which exists. It keeps the permissions it had: for one on a remote server, Codex 0.169
#: refuses others ("Permission overrides are not supported when resuming a remote task").
_OF_A_SESSION = frozenset({"resume", "fork"})
#: Commands of Codex that open no session in a terminal.
_WITHOUT_SESSION = frozenset(
    {"a", "agents", "app-server", "apply", "archive", "cloud", "completion", "debug", "delete", "doctor", "e"}
    | {
        "exec",
        "exec-server",
        "features",
        "help",
        "login",
        "logout",
        "mcp",
        "migrate-nfs-db",
        "migrate-rollouts",
    }
    | {"plugin", "queue", "remote-control", "review", "sandbox", "unarchive", "update"}
)
#: Arguments Codex 0.169 refuses beside --remote, and what to do instead.
_REFUSED = {
    "--remote": "codex-relay starts the app-server itself",
    "--remote-auth-token-env": "codex-relay makes the token itself",
    "--add-dir": "Codex does not take it for a remote session; add it to sandbox_workspace_write.writable_roots in config.toml",
    "--worktree": "Codex does not take it for a remote session; make the worktree first and pass it with -C",
    "--no-daemon": "codex-relay never uses the shared daemon",
}
#: Flags followed by a value, and what the value chooses for us, if anything.
_TAKES_A_VALUE: dict[str, str | None] = {
    "-C": "cwd",
    "--cd": "cwd",
    "-a": "approval_policy",
    "--ask-for-approval": "approval_policy",
    "-s": "sandbox",
    "--sandbox": "sandbox",
    "-c": "config",
    "--config": "config",
    "-p": "profile",
    "--profile": "profile",
    "-m": None,
    "--model": None,
    "-i": None,
    "--image": None,
    "--enable": None,
    "--disable": None,
    "--local-provider": None,
}
_CONFIG = {"approval_policy": "approval_policy", "sandbox_mode": "sandbox"}
_BYPASS = frozenset({"--yolo", "--dangerously-bypass-approvals-and-sandbox"})


@dataclass(frozen=True, slots=True)
class CodexArguments:
    """The user's arguments for Codex and what they choose; None where they leave it open.

    `default` are the permissions where the arguments choose none. None are filled in where they cannot be seen from
    here: in a session that exists (`command` is ``resume`` or ``fork``), and where a Codex profile may hold some.
    """

    given: tuple[str, ...] = ()
    cwd: str | None = None
    approval_policy: str | None = None
    sandbox: str | None = None
    profile: str | None = None
    command: str | None = None
    default: Permissions = DEFAULT

    @property
    def permissions(self) -> tuple[str | None, str | None]:
        """Approval policy and sandbox of the session; None where something else decides."""
        if self.profile is not None or self.command is not None:
            return self.approval_policy, self.sandbox
        return self.approval_policy or self.default.approval_policy, self.sandbox or self.default.sandbox

    @property
    def filled_in(self) -> tuple[str, ...]:
        """The permissions to add, as arguments."""
        approval_policy, sandbox = self.permissions
        added: list[str] = []
        if self.approval_policy is None and approval_policy is not None:
            added += ["--ask-for-approval", approval_policy]
        if self.sandbox is None and sandbox is not None:
            added += ["--sandbox", sandbox]
        return tuple(added)

    @property
    def as_config(self) -> tuple[str, ...]:
        """The approval policy as configuration of the app-server, where the user's own arguments choose no permissions.

        A TUI that is given none takes it over for its first thread. The sandbox it always names itself (Codex 0.169).
        """
        if self.approval_policy is not None or self.sandbox is not None or not self.filled_in:
            return ()
        return ("-c", f"approval_policy={json.dumps(self.permissions[0])}")


def read_codex_arguments(given: tuple[str, ...], default: Permissions = DEFAULT) -> CodexArguments:
    """Read what `given` chooses. Raises `Invalid` for what cannot work in a session joined to the relay."""
    parts = list(_parts(given))
    word = next((value for name, value in parts if not name), None)
    if word in _WITHOUT_SESSION:
        raise Invalid(
            f"`codex {word}` opens no session that could be joined: run it without codex-relay",
            code="no_session",
        )
    chosen: dict[str, str] = {}
    for name, value in parts:
        if name in _REFUSED:
            raise Invalid(f"{name} cannot be used here: {_REFUSED[name]}", code="codex_argument")
        chosen |= _choice(name, value)
    return CodexArguments(given, command=word if word in _OF_A_SESSION else None, default=default, **chosen)


def _choice(name: str, value: str) -> dict[str, str]:
    """Read what one flag chooses."""
    if name in _BYPASS:
        return {"approval_policy": "never", "sandbox": "danger-full-access"}
    if name == "--approve-for-me":
        return {"approval_policy": "on-request", "sandbox": "workspace-write"}
    field = _TAKES_A_VALUE.get(name)
    if field == "config":
        key, _, setting = value.partition("=")
        field, value = _CONFIG.get(key.strip()), setting.strip().strip("\"'")
    return {} if field is None else {field: value}


def _parts(given: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every flag with its value, empty where there is none, and every word that is no flag, with an empty name."""
    rest = iter(given)
    for argument in rest:
        if argument == "--":
            return
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
        elif argument.startswith("-"):
            name, equals, value = argument[:2], argument[2:], argument[2:].removeprefix("=")
        else:
            name, equals, value = "", "", argument
        if name in _TAKES_A_VALUE and not equals:
            value = next(rest, "")
        yield name, value


@dataclass(frozen=True, slots=True)
class RelayTools:
    """The relay's tools for the model: where they are, and the token to use them with, if one is needed.

    `token_id` is that of a token of the session's own, which its sidecar binds to its agent. `server` is the name the
    app-server knows them by.
    """

    relay_url: str
    token: str | None = field(default=None, repr=False)
    token_id: int | None = None
    server: str = MCP_SERVER

    @property
    def overrides(self) -> tuple[str, ...]:
        """Arguments of the app-server that give it the tools, and touch no file of the user's.

        The app-server itself makes the calls, outside the sandbox (Codex 0.130 to 0.169). Without ``approve`` the
        approval policy ``never`` refuses them to a Codex that does not take the tools' own word that they are harmless.
        """
        values = {"url": f"{self.relay_url.rstrip('/')}/mcp", "default_tools_approval_mode": "approve"}
        if self.token is not None:
            values["bearer_token_env_var"] = MCP_TOKEN_VARIABLE
        # Each value is text that JSON and TOML write alike.
        table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
        return ("-c", f"mcp_servers.{self.server}={{{table}}}")


def free_server_name(*configurations: str) -> str:
    """Name the server so that none of the user's has the name, by the texts of their configurations.

    Codex merges two of one name, and then gives no thread at all ("url is not supported for stdio", Codex 0.169). A
    text it cannot read either is left to it.
    """
    taken: set[str] = set()
    for text in configurations:
        try:
            servers = tomllib.loads(text).get("mcp_servers")
        except tomllib.TOMLDecodeError:
            continue
        taken |= set(servers) if isinstance(servers, dict) else set()
    names = (MCP_SERVER if number == 1 else f"{MCP_SERVER}_{number}" for number in itertools.count(1))
    return next(name for name in names if name not in taken)


def app_server_command(
    codex: str, *, port: int, token_file: str, overrides: Sequence[str] = ()
) -> tuple[str, ...]:
    """Start an app-server on loopback; port 0 lets it choose, and it then prints its address on stderr.

    `overrides` are ``-c`` arguments: configuration for this server alone.
    """
    listen = f"ws://127.0.0.1:{port}"
    return (
        codex,
        "app-server",
        *overrides,
        "--listen",
        listen,
        "--ws-auth",
        "capability-token",
        "--ws-token-file",
        token_file,
    )


def tui_command(
    codex: str, url: str, cwd: str, arguments: CodexArguments, *, own_sandbox: str | None = None
) -> tuple[str, ...]:
    """Start the TUI on the app-server at `url`.

    Without ``-C`` it would work in the app-server's directory (Codex 0.169). Permissions nobody chose are left to the
    app-server's configuration (`as_config`) where the TUI begins in the right sandbox anyway (`own_sandbox`), because
    as arguments they bar ``/resume``.
    """
    where = () if arguments.cwd is not None else ("-C", cwd)
    remote = ("--remote", url, "--remote-auth-token-env", TOKEN_VARIABLE)
    by_itself = bool(arguments.as_config) and own_sandbox == arguments.permissions[1]
    permissions = () if by_itself else arguments.filled_in
    return (codex, *remote, *where, *permissions, *arguments.given)
