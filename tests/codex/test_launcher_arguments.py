import tomllib

import pytest

from trio_relay.codex.arguments import (
    MCP_SERVER,
    MCP_TOKEN_VARIABLE,
    CodexArguments,
    RelayTools,
    app_server_command,
    free_server_name,
    read_codex_arguments,
    tui_command,
)
from trio_relay.core.approval import Approval, permissions
from trio_relay.errors import Invalid

OURS = ("--ask-for-approval", "never", "--sandbox", "workspace-write")


def test_permissions_are_filled_in_where_the_user_chose_none() -> None:
    read = read_codex_arguments(("-m", "gpt-5", "fix the build"))
    assert read.filled_in == OURS
    assert read.permissions == ("never", "workspace-write")


@pytest.mark.parametrize(
    ("given", "approval_policy", "sandbox"),
    [
        (("-a", "on-request"), "on-request", None),
        (("-aon-request",), "on-request", None),
        (("--ask-for-approval=on-request", "-s", "read-only"), "on-request", "read-only"),
        (("-sread-only",), None, "read-only"),
        (("-s=read-only",), None, "read-only"),
        (("--yolo",), "never", "danger-full-access"),
        (("--dangerously-bypass-approvals-and-sandbox",), "never", "danger-full-access"),
        (("--approve-for-me",), "on-request", "workspace-write"),
        (("-c", 'approval_policy="on-request"'), "on-request", None),
        (("-csandbox_mode=read-only",), None, "read-only"),
        (("--config=sandbox_mode = 'read-only'",), None, "read-only"),
        (("fix it", "-a", "on-request"), "on-request", None),
        (("-m", "-a", "on-request"), None, None),
        (("-c", "model=gpt-5", "--", "-a", "on-request"), None, None),
        (("-m", "gpt-5", "-a"), "", None),
    ],
)
def test_what_the_user_chose_is_seen(
    given: tuple[str, ...], approval_policy: str | None, sandbox: str | None
) -> None:
    read = read_codex_arguments(given)
    assert (read.approval_policy, read.sandbox) == (approval_policy, sandbox)
    assert read.given == given


def test_only_what_is_open_is_filled_in() -> None:
    assert read_codex_arguments(("-s", "read-only")).filled_in == OURS[:2]
    assert read_codex_arguments(("-a", "on-request")).filled_in == OURS[2:]
    assert read_codex_arguments(("--yolo",)).filled_in == ()


def test_a_codex_profile_may_hold_permissions_so_none_are_filled_in() -> None:
    read = read_codex_arguments(("-p", "careful"))
    assert read.filled_in == ()
    assert read.permissions == (None, None)


def test_an_approval_mode_gives_the_permissions_to_fill_in() -> None:
    read = read_codex_arguments(("-s", "danger-full-access"), permissions(Approval.GUARDED))
    assert read.filled_in == ("--ask-for-approval", "on-request")
    assert read.permissions == ("on-request", "danger-full-access")


@pytest.mark.parametrize(
    "given", [("--remote", "ws://x"), ("--add-dir=/x",), ("--worktree",), ("--no-daemon",)]
)
def test_what_codex_refuses_beside_remote_is_said_beforehand(given: tuple[str, ...]) -> None:
    with pytest.raises(Invalid, match=given[0].partition("=")[0]):
        read_codex_arguments(given)


@pytest.mark.parametrize("command", ["exec", "e", "login", "app-server", "mcp"])
def test_commands_without_a_session_are_refused(command: str) -> None:
    with pytest.raises(Invalid, match="opens no session"):
        read_codex_arguments((command, "--help"))


@pytest.mark.parametrize("command", ["resume", "fork"])
def test_a_session_that_exists_keeps_its_permissions(command: str) -> None:
    """Codex 0.169 refuses others for a session on a remote server."""
    read = read_codex_arguments(("-m", "gpt-5", command, "--last"))
    assert read.command == command
    assert read.filled_in == ()
    assert read.permissions == (None, None)


def test_a_prompt_is_no_command() -> None:
    assert read_codex_arguments(("resume the work", "-m", "gpt-5")).command is None
    assert read_codex_arguments(("-m", "resume")).command is None
    assert read_codex_arguments(("--", "resume")).command is None


def test_the_tui_is_told_where_to_work_unless_the_user_did() -> None:
    plain = tui_command("/bin/codex", "ws://127.0.0.1:1", "/project", CodexArguments())
    assert plain[:1] == ("/bin/codex",)
    assert plain[plain.index("-C") + 1] == "/project"
    elsewhere = read_codex_arguments(("--cd", "/other"))
    chosen = tui_command("codex", "ws://127.0.0.1:1", "/project", elsewhere)
    assert "-C" not in chosen
    assert chosen[-2:] == ("--cd", "/other")


def test_permissions_nobody_chose_bar_no_resume() -> None:
    """Codex 0.169: "Permission overrides are not supported when resuming a remote task."."""

    def tui(arguments: CodexArguments, own_sandbox: str | None) -> tuple[str, ...]:
        return tui_command("codex", "ws://x", "/project", arguments, own_sandbox=own_sandbox)

    plain = CodexArguments()
    assert plain.as_config == ("-c", 'approval_policy="never"')
    assert not set(OURS) & set(tui(plain, "workspace-write"))
    for other in (None, "read-only", "danger-full-access"):
        assert tui(plain, other)[-4:] == OURS
    chosen = read_codex_arguments(("-a", "on-request"))
    assert chosen.as_config == ()
    assert tui(chosen, "workspace-write")[-4:] == ("--sandbox", "workspace-write", "-a", "on-request")
    assert read_codex_arguments(("resume", "--last")).as_config == ()


def test_what_restricts_is_never_left_to_the_tui() -> None:
    """It would begin in its own sandbox, whatever the app-server's configuration says."""
    read_only = CodexArguments(default=permissions(Approval.READ_ONLY))
    command = tui_command("codex", "ws://x", "/project", read_only, own_sandbox="workspace-write")
    assert command[-2:] == ("--sandbox", "read-only")


def test_the_token_is_in_no_command_line() -> None:
    command = app_server_command("codex", port=0, token_file="/run/token")
    assert command[1:4] == ("app-server", "--listen", "ws://127.0.0.1:0")
    assert command[-2:] == ("--ws-token-file", "/run/token")


@pytest.mark.parametrize("url", ["http://127.0.0.1:4850", "https://relay.example/", "http://a/\"}='"])
def test_the_tools_are_one_table_of_their_own(url: str) -> None:
    flag, override = RelayTools(url, "s3cret").overrides
    name, _, table = override.partition("=")
    assert (flag, name) == ("-c", f"mcp_servers.{MCP_SERVER}")
    assert tomllib.loads(f"x = {table}")["x"] == {
        "url": f"{url.rstrip('/')}/mcp",
        "default_tools_approval_mode": "approve",
        "bearer_token_env_var": MCP_TOKEN_VARIABLE,
    }
    assert "s3cret" not in override + repr(RelayTools(url, "s3cret"))
    assert "bearer" not in RelayTools(url).overrides[1]


def test_the_tools_get_a_name_no_server_of_the_users_has() -> None:
    mine = "[mcp_servers.trio_relay]\ncommand = 'x'\n"
    assert free_server_name() == free_server_name("[mcp_servers.relay]\nurl = 'x'", "not [toml") == MCP_SERVER
    assert free_server_name(mine, "mcp_servers = 1") == "trio_relay_2"
    assert free_server_name("mcp_servers.trio_relay_2.url = 'x'", mine) == "trio_relay_3"
