"""``trio-relay`` (also ``agent-relay``): the table of its commands."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from trio_relay import __version__
from trio_relay.cli.shared.failures import Group

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives, and its line in ``--help``."""

    module: str
    help: str


COMMANDS = {
    "serve": Entry("operating.serve", "Run the relay."),
    "setup": Entry("beginning.setup", "Set up the relay of this machine: address, database, token."),
    "daemon": Entry("operating.daemon", "Have the relay run as a service of yours."),
    "demo": Entry("beginning.demo", "See two small agents work together, in five seconds."),
    "status": Entry("beginning.status", "Show how the relay is doing, and who you are."),
    "agents": Entry("talking.agents", "List who is there."),
    "agent": Entry("talking.agent", "Show one agent in full, or remove it."),
    "send": Entry("talking.send", "Send a message."),
    "reply": Entry("talking.reply", "Answer a message."),
    "inbox": Entry("talking.inbox", "Show what has arrived, and what arrives."),
    "chat": Entry("talking.chat", "Talk with an agent, live."),
    "read": Entry("talking.read", "Read one message in full."),
    "history": Entry("talking.history", "Show what was said in the room."),
    "search": Entry("talking.history", "Find messages by their words."),
    "message": Entry("sessions.message", "Send a message as the agent of this session."),
    "send-claimable": Entry("sessions.message", "Offer work for exactly one, as the agent of this session."),
    "pair": Entry("sessions.pair", "Work with one other session."),
    "disconnect": Entry("sessions.pair", "End the pair this session is in."),
    "label": Entry("sessions.names", "Show or set this session's label."),
    "tags": Entry("sessions.names", "Show or set this session's tags."),
    "claim": Entry("work.claims", "Claim work for yourself alone."),
    "complete": Entry("work.claims", "Say that the work you claimed is done."),
    "release": Entry("work.claims", "Give back work you claimed."),
    "tasks": Entry("work.tasks", "List tasks."),
    "task": Entry("work.tasks", "Show one task, or say how it goes."),
    "leases": Entry("work.leases", "Hold files, ports, a migration: alone."),
    "events": Entry("following.events", "Show what happens in the room."),
    "explain": Entry("following.explain", "Tell what happened to a message, and why not yet."),
    "prove": Entry("following.explain", "Prove the way between two agents with a canary."),
    "retract": Entry("following.fate", "Take a message back."),
    "redrive": Entry("following.fate", "Give a dead letter another life."),
    "threads": Entry("following.threads", "List the conversations that wait for a person."),
    "approvals": Entry("work.approvals", "Show what agents ask before they do it."),
    "approve": Entry("work.approvals", "Allow what an agent asks."),
    "deny": Entry("work.approvals", "Deny what an agent asks."),
    "tokens": Entry("operating.access", "Mint, list and revoke tokens."),
    "invite": Entry("operating.access", "Invite another machine."),
    "join": Entry("operating.access", "Join a relay with a ticket."),
    "profile": Entry("operating.profile", "List, show and check the profiles of agents."),
    "backup": Entry("operating.backup", "Copy the room into a file, also while the relay runs."),
    "restore": Entry("operating.backup", "Put a backup in the place of the room's database."),
    "db": Entry("operating.db", "Look after the database; move it to PostgreSQL."),
    "install": Entry("beginning.install", "Put the relay's side into Codex or Claude Code."),
    "uninstall": Entry("beginning.install", "Take it out again, without a trace."),
    "doctor": Entry("beginning.doctor", "Say what is broken here, and what mends it."),
    "connector": Entry("operating.connector", "Take webhooks: Alertmanager, GitHub, any JSON."),
    "completion": Entry("beginning.completion", "Have your shell complete commands and agents."),
    "mcp": Entry("sessions.mcp", "Give an MCP client the relay's tools, over stdio."),
    "attach": Entry("sessions.attach", "Connect a session that already runs: a plain codex."),
    "hook": Entry("sessions.hook", "Answer an agent's program; the plugin calls this."),
    "sidecar": Entry("sessions.sidecar", "Connect an agent's session to the relay."),
    "version": Entry("beginning.version", "Print the version."),
}

_WIDEST = max(map(len, COMMANDS))
#: How ``--help`` groups them; a command that stands in none comes last.
SECTIONS = {
    "Begin": ("demo", "setup", "serve", "daemon", "install", "uninstall", "doctor", "status", "version"),
    "Talk": ("chat", "send", "reply", "inbox", "read", "history", "search", "agents", "agent"),
    "As the agent of a session": ("message", "send-claimable", "pair", "disconnect", "label", "tags"),
    "Work": ("claim", "complete", "release", "tasks", "task", "leases", "approvals", "approve", "deny"),
    "What became of it": ("events", "explain", "prove", "retract", "redrive", "threads"),
    "Who may do what": ("tokens", "invite", "join", "profile"),
    "Keep the room": ("backup", "restore", "db"),
    "For other programs": ("mcp", "attach", "connector", "completion", "hook", "sidecar"),
}


class LazyGroup(Group):
    """Commands are imported when they run, not when they are listed: ``--help`` takes no event loop."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Give the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module; its function bears the command's name.

        Skills write ``/pair`` where people write ``pair``.
        """
        name = cmd_name.removeprefix("/")
        entry = COMMANDS.get(name)
        if entry is None:
            return None
        module = import_module(f"trio_relay.cli.{entry.module}")
        command: click.Command = getattr(module, name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands out of the table, a section after the other."""
        listed = {name for names in SECTIONS.values() for name in names}
        others = tuple(name for name in COMMANDS if name not in listed)
        for title, names in (SECTIONS | {"Others": others}).items():
            rows = [(name.ljust(_WIDEST), COMMANDS[name].help) for name in names if name in COMMANDS]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Complete a command's name out of the table: none is imported for it."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415  # only for shells

        slash = "/" if incomplete.startswith("/") else ""
        found = [
            CompletionItem(slash + name, help=entry.help)
            for name, entry in COMMANDS.items()
            if (slash + name).startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Run a message room for coding-agent sessions, where delivered means proven in the model's context.

    Start with `trio-relay demo`, then `trio-relay serve`.
    """


def main(**arguments: Any) -> None:
    """Console script."""
    cli(**arguments)
