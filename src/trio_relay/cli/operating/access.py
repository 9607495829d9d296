"""``trio-relay tokens``, ``invite`` and ``join``: credentials for single agents and for other machines."""

import time

import click

from trio_relay.cli.shared.calling import call_relay, examples, json_option, relay_option
from trio_relay.cli.shared.credentials import forget, remember
from trio_relay.cli.shared.environment import agent_settings
from trio_relay.cli.shared.params import DURATION, ID
from trio_relay.cli.shared.terminal import console, echo_json, local_time, printable
from trio_relay.client import admin
from trio_relay.client.plain import PlainRelay, finished
from trio_relay.core.access import Scope
from trio_relay.core.model import Authority
from trio_relay.core.wire_access import JoinRequest, TicketRequest, Token, TokenRequest

_SCOPES = click.Choice([scope.value for scope in Scope])
_USUAL = (Scope.SEND, Scope.RECEIVE, Scope.CLAIM, Scope.OBSERVE)
_HOUR = 3_600_000


@click.group()
def tokens() -> None:
    """Mint, list and revoke tokens."""


@tokens.command(
    "mint",
    epilog=examples("trio-relay tokens mint --agent desk", "trio-relay tokens mint --human --name ann"),
)
@click.option("--agent", metavar="ID", help="Bind it: it cannot speak as another agent.")
@click.option(
    "--scope",
    "scopes",
    type=_SCOPES,
    metavar="SCOPE",
    multiple=True,
    help="What it may do: send, receive, claim, observe, integrate or admin; may be given several times. "
    "Default: the first four.",
)
@click.option("--human", is_flag=True, help="What is sent with it is a person's word.")
@click.option("--name", default="token", show_default=True, help="What to list it as.")
@click.option("--hours", type=DURATION, metavar="N", help="How long it counts; default: until revoked.")
@json_option
@relay_option
def mint(  # click's own help says what each is
    *,
    agent: str | None,
    scopes: tuple[str, ...],
    human: bool,
    name: str,
    hours: float | None,
    as_json: bool,
    relay_url: str | None,
) -> None:
    """Mint a token. It is printed this once; the relay keeps only its hash."""
    request = TokenRequest(
        name=name,
        agent_id=agent,
        scopes=[Scope(scope) for scope in scopes] or list(_USUAL),
        authority=Authority.HUMAN if human else Authority.PEER,
        ttl_ms=None if hours is None else max(1_000, round(hours * _HOUR)),
    )
    minted = call_relay(relay_url, lambda relay: admin.mint_token(relay, request))
    if as_json:
        echo_json(minted)
    else:
        click.echo(minted.token)


@tokens.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that count no more.")
@json_option
@relay_option
def list_(*, everything: bool, as_json: bool, relay_url: str | None) -> None:
    """List the tokens that count, without their secrets. Every session of `codex-relay` has one of its own."""
    found = call_relay(relay_url, admin.list_tokens)
    if not everything:
        now = time.time() * 1000
        found = [
            token
            for token in found
            if token.revoked_at is None and (token.expires_at is None or token.expires_at > now)
        ]
    if as_json:
        echo_json(found)
        return
    if found:
        _print_table(found)
    else:
        click.echo("No tokens have been minted." if everything else "No token counts.")


@tokens.command()
@click.argument("token_id", type=ID, metavar="ID")
@json_option
@relay_option
def revoke(*, token_id: int, as_json: bool, relay_url: str | None) -> None:
    """Revoke a token: it counts no more from now on."""
    revoked = call_relay(relay_url, lambda relay: admin.revoke_token(relay, token_id))
    if as_json:
        echo_json(revoked)
    else:
        click.echo(f"Token {token_id} is revoked.")


@click.command()
@click.option(
    "--agent", metavar="ID", help="The agent that may join with it; default: whoever uses it first."
)
@click.option(
    "--hours",
    type=DURATION,
    metavar="N",
    default=1.0,
    show_default=True,
    help="How long it is good.",
)
@click.option(
    "--url", metavar="URL", help="The relay as the other machine reaches it; default: as this one does."
)
@json_option
@relay_option
def invite(*, agent: str | None, hours: float, url: str | None, as_json: bool, relay_url: str | None) -> None:
    """Invite another machine.

    Prints one line to paste there, good for one use.
    """
    request = TicketRequest(agent_id=agent, ttl_ms=max(1_000, round(hours * _HOUR)))
    ticket = call_relay(relay_url, lambda relay: admin.invite(relay, request))
    where = url or agent_settings(relay_url=relay_url).relay_url
    if as_json:
        echo_json({"url": where, "ticket": ticket})
    else:
        click.echo(f"trio-relay join {where} {ticket.ticket}")


@click.command()
@click.argument("url")
@click.argument("ticket", required=False)
@click.option("--agent", metavar="ID", help="Bind the token to this agent.")
@click.option("--forget", "leave", is_flag=True, help="Drop what joining has left here; needs no ticket.")
@json_option
def join(*, url: str, ticket: str | None, agent: str | None, leave: bool, as_json: bool) -> None:
    """Join a relay with a ticket.

    `trio-relay invite` prints the TICKET where the relay at URL runs.
    """
    if leave:
        forgotten = forget(url)
        if as_json:
            echo_json({"url": url, "forgotten": forgotten})
        else:
            click.echo(f"{'Forgotten:' if forgotten else 'Nothing was kept for'} {printable(url)}.")
        return
    if ticket is None:
        raise click.UsageError("Missing argument 'TICKET'.")
    request = JoinRequest(ticket=ticket, agent_id=agent)
    with PlainRelay.at(url) as relay:
        minted = finished(admin.join(relay, request))
    path = remember(url, minted.token)
    if as_json:
        echo_json({"url": url, "agentId": minted.agent_id, "scopes": minted.scopes, "file": str(path)})
        return
    click.echo(f"Joined {printable(url)}. The token is kept in {path}.")
    click.echo(f"Next: AGENT_RELAY_URL={printable(url)} trio-relay agents")


def _print_table(found: list[Token]) -> None:
    from rich.table import Table  # noqa: PLC0415  # only where a table is drawn
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("id", justify="right", no_wrap=True)
    for name, ratio in (("name", 2), ("agent", 3), ("word", 1), ("may", 2), ("counts", 2)):
        table.add_column(name, overflow="fold", ratio=ratio)
    for token in found:
        over = token.revoked_at is not None
        until = f"until {local_time(token.expires_at)}" if token.expires_at else "until revoked"
        table.add_row(
            str(token.id),
            Text(printable(token.name)),
            Text(
                printable(token.agent_id) if token.agent_id else "any", style="" if token.agent_id else "dim"
            ),
            Text(token.authority),
            Text(" ".join(token.scopes), style="dim"),
            Text("revoked" if over else until, style="red" if over else "dim"),
        )
    console().print(table)
