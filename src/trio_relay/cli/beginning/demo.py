"""``trio-relay demo``: a relay and two small agents in this process, shown live.

Task tree: the relay, on a free port with a database that is thrown away; beside it the two agents and an audience
that reads the relay and redraws. When both scripts have ended, everything stops.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import trio
from rich.live import Live

from trio_relay.cli.beginning.demo_agents import anna, ben, present
from trio_relay.cli.beginning.demo_view import Scene
from trio_relay.cli.shared.logs import log_to_stderr
from trio_relay.cli.shared.programs import own_command
from trio_relay.cli.shared.terminal import console
from trio_relay.client.http import RelayClient
from trio_relay.relay.serve import serve_until
from trio_relay.settings import ServerSettings

#: How long a rung stays before the next one, seconds: slow enough to follow, five messages in under five seconds.
PACE = 0.2
#: How often the audience looks, seconds.
LOOK_EVERY = 0.05


@click.command()
def demo() -> None:
    """See two small agents work together, in five seconds.

    Needs nothing: no Codex, no running relay, no account. It leaves nothing behind.
    """
    log_to_stderr(only_warnings=True)
    screen = console()
    with TemporaryDirectory(prefix="trio-relay-demo-") as directory:
        if screen.is_terminal:
            with Live(console=screen, auto_refresh=False, vertical_overflow="visible") as live:
                scene = trio.run(
                    partial(perform, Path(directory), partial(live.update, refresh=True), pace=PACE)
                )
        else:
            scene = trio.run(partial(perform, Path(directory), lambda _scene: None, pace=PACE))
            screen.print(scene)
    click.echo(closing(scene))


async def perform(directory: Path, show: Callable[[Scene], None], *, pace: float) -> Scene:
    """Run the whole play; give the last scene."""
    stop = trio.Event()
    settings = ServerSettings(port=0, db_path=str(directory / "demo.db"))
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(partial(serve_until, settings, stop))
        async with trio.open_nursery() as stage:
            stage.start_soon(watch, urls[0], show)
            await play(urls[0], pace)
            stage.cancel_scope.cancel()
        async with RelayClient.open(urls[0]) as relay:
            last = await look(relay)
        show(last)
        stop.set()
    return last


async def play(url: str, pace: float) -> None:
    """Let both agents play their parts to the end."""
    async with (
        present(url, "anna", capabilities=["chat"], pace=pace) as first,
        present(url, "ben", capabilities=["chat", "sums"], pace=pace) as second,
        trio.open_nursery() as actors,
    ):
        actors.start_soon(anna, first)
        actors.start_soon(ben, second)


async def watch(url: str, show: Callable[[Scene], None]) -> None:
    """Show what the relay says, whenever it says something new."""
    shown: Scene | None = None
    async with RelayClient.open(url) as relay:
        while True:
            scene = await look(relay)
            if scene != shown:
                show(scene)
                shown = scene
            await trio.sleep(LOOK_EVERY)


async def look(relay: RelayClient) -> Scene:
    """Read the conversation and every ladder."""
    messages = sorted(await relay.browse(), key=lambda message: message.id)
    return Scene(relay.url, messages, {message.id: await relay.receipts(message.id) for message in messages})


def closing(scene: Scene) -> str:
    """Write what was seen, and what to try next."""
    receipts = [ladder for ladders in scene.ladders.values() for ladder in ladders]
    settled = sum(ladder.state == "settled" for ladder in receipts)
    program = own_command()
    return f"""
{len(scene.messages)} messages, {settled} deliveries settled. No rung lights up before it was seen:
with Codex, "in context" means found in the model's own thread.

Next:
  {program} serve          a relay that stays
  {program} send --help    messages from your shell or a script"""
