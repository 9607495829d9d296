"""``trio-relay chat``: a person at a terminal, talking with an agent as one of the room."""

from typing import TYPE_CHECKING

import click

from trio_relay.cli.shared.calling import call_relay, examples, relay_option
from trio_relay.cli.shared.completing import targets
from trio_relay.cli.shared.params import Seconds
from trio_relay.cli.shared.session import myself, sender_option

if TYPE_CHECKING:
    from trio_relay.client.http import RelayClient


@click.command(
    epilog=examples("trio-relay chat backend", 'echo "Is the migration done?" | trio-relay chat backend')
)
@click.argument("target", shell_complete=targets)
@sender_option
@click.option("--channel", metavar="NAME", help="Only agents that listen to this channel get it.")
@click.option(
    "--linger",
    type=Seconds(0),
    metavar="SECONDS",
    help="How long to stay for answers when the input ends; default: 0 at a terminal, else 30 after the last line.",
)
@relay_option
def chat(
    *, target: str, agent: str | None, channel: str | None, linger: float | None, relay_url: str | None
) -> None:
    """Talk with TARGET: every line you type is a message, and what arrives for you is shown as it comes.

    TARGET is an agent id, tag:NAME, cap:NAME, label:NAME or broadcast. Others see you live while you are here. Below a
    line stands how far it has got; a line that follows a message answers it, and shows that you have read what stood
    above. A line that ends with a backslash goes on. /to TARGET turns to another, /help says the rest; Ctrl-D leaves.
    """

    async def work(relay: "RelayClient") -> int | None:
        from trio_relay.cli.talking.chatting import run_chat  # noqa: PLC0415  # --help stays quick

        me = (await myself(relay, agent)).agent_id
        return await run_chat(relay, me, target, channel, linger)

    code = call_relay(relay_url, work, waits=True)
    if code is not None:
        raise click.exceptions.Exit(code)
