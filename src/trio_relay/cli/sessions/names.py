"""``trio-relay label`` and ``tags``: what a session answers to."""

import click

from trio_relay.cli.shared.calling import call_relay, json_option, relay_option
from trio_relay.cli.shared.session import agent_option, own_agent
from trio_relay.cli.shared.terminal import echo_json, printable
from trio_relay.client.http import RelayClient
from trio_relay.core.wire import Agent


@click.command()
@click.argument("words", nargs=-1, metavar="[LABEL]")
@click.option("--clear", is_flag=True, help="Take the label away.")
@agent_option
@json_option
@relay_option
def label(
    *, words: tuple[str, ...], clear: bool, agent: str | None, as_json: bool, relay_url: str | None
) -> None:
    """Show this session's label, or give it one: label:LABEL reaches it then."""
    if words and clear:
        raise click.UsageError("a label, or --clear: not both")

    async def work(relay: RelayClient) -> Agent:
        me = (await own_agent(relay, agent)).agent_id
        if words or clear:
            return await relay.set_label(me, " ".join(words) or None)
        return await relay.agent(me)

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    else:
        named = f"label:{printable(found.label)}" if found.label else "has no label"
        click.echo(f"{printable(found.id)}: {named}")


@click.command()
@click.argument("words", nargs=-1, metavar="[TAG]...")
@click.option("--list", "only_list", is_flag=True, help="Show the tags, as without any TAG.")
@click.option("--add", is_flag=True, help="Add the TAGs to those there are.")
@click.option("--remove", is_flag=True, help="Take the TAGs away.")
@agent_option
@json_option
@relay_option
def tags(
    *,
    words: tuple[str, ...],
    only_list: bool,
    add: bool,
    remove: bool,
    agent: str | None,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Show this session's tags, or set them: tag:TAG reaches it then.

    TAGs take the place of those it has, except its provider, rig and project, which stay. They may be separated by
    spaces or commas.
    """
    given = tuple(dict.fromkeys(tag.strip() for word in words for tag in word.split(",") if tag.strip()))
    if sum((only_list, add, remove)) > 1:
        raise click.UsageError("only one of --list, --add and --remove")
    if (add or remove) and not given:
        raise click.UsageError("which tags?")
    if only_list and given:
        raise click.UsageError("--list takes no tags")

    async def work(relay: RelayClient) -> Agent:
        me = await relay.agent((await own_agent(relay, agent)).agent_id)
        if not given:
            return me
        if add or remove:
            return await relay.set_tags(me.id, add=given if add else (), remove=given if remove else ())
        fixed = (me.meta.get("client"), me.rig, me.name)
        return await relay.set_tags(me.id, [*(tag for tag in me.tags if tag in fixed), *given])

    found = call_relay(relay_url, work)
    if as_json:
        echo_json(found)
    else:
        click.echo(f"{printable(found.id)}: {printable(', '.join(found.tags)) or 'no tags'}")
