"""``trio-relay connector``: take webhooks of other programs, and have agents work on what they say."""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trio_relay.cli.shared.calling import examples, relay_option
from trio_relay.cli.shared.failures import BAD_INPUT, Failure

if TYPE_CHECKING:
    from trio_relay.connectors.delivery import Check, Understand

#: GitHub sends no more than 25 MB.
_LARGEST = {"alertmanager": 4 * 1_048_576, "github": 25 * 1_048_576, "webhook": 1_048_576}
_PORTS = {"alertmanager": 4860, "github": 4861, "webhook": 4862}
Made = tuple["Understand", Callable[[str], "Check"]]


@click.group()
def connector() -> None:
    """Take webhooks of other programs, and have agents work on what they say.

    A connector keeps what it took on disk until the relay has it. It posts as an integration: give it the token of one in
    AGENT_RELAY_CONNECTOR_TOKEN or --token-file, and what its senders prove themselves with in AGENT_RELAY_CONNECTOR_SECRET or
    --secret-file.
    """


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind."),
            click.option(
                "--port",
                type=click.IntRange(0, 65535),
                metavar="PORT",
                help="Port to bind, 0 for a free one.",
            ),
            click.option(
                "--target",
                metavar="WHOM",
                help="Whom events are for: tag:NAME, cap:NAME, label:NAME, an agent.",
            ),
            click.option("--channel", metavar="NAME", help="The channel of the messages."),
            click.option(
                "--token-file", type=click.Path(path_type=Path), help="File with the integration's token."
            ),
            click.option(
                "--secret-file", type=click.Path(path_type=Path), help="File with the senders' secret."
            ),
            click.option(
                "--spool",
                type=click.Path(path_type=Path),
                help="Directory for what waits; default: in the user's state directory.",
            ),
            click.option(
                "--try",
                "sample",
                type=click.Path(path_type=Path),
                help="Print what becomes of a recorded payload, and post nothing.",
            ),
            click.option(
                "--header", "headers", multiple=True, metavar="NAME:VALUE", help="With --try: a header of it."
            ),
            relay_option,
        )
    ):
        function = option(function)
    return function


@connector.command(
    short_help="Take alerts of Prometheus Alertmanager.",
    epilog=examples("trio-relay connector alertmanager --target tag:ops"),
)
@_options
def alertmanager(*, target: str | None, channel: str | None, **options: Any) -> None:
    """Take alerts of Prometheus Alertmanager (a receiver with webhook_configs).

    Its http_config holds the secret: authorization: {credentials_file: FILE}.
    """
    from trio_relay.connectors.alertmanager import alertmanager as understood  # noqa: PLC0415
    from trio_relay.connectors.delivery import bearer  # noqa: PLC0415

    _run("alertmanager", (understood(target=target, channel=channel), bearer), **options)


@connector.command(epilog=examples("trio-relay connector github --label agent --target tag:backend"))
@click.option("--label", "labels", multiple=True, help="Only what bears it; may be given several times.")
@_options
def github(*, labels: tuple[str, ...], target: str | None, channel: str | None, **options: Any) -> None:
    """Take GitHub's webhooks about issues and pull requests. The secret is the webhook's own, and needed."""
    from trio_relay.connectors.delivery import signature  # noqa: PLC0415
    from trio_relay.connectors.github import github as understood  # noqa: PLC0415

    signed = partial(signature, header="X-Hub-Signature-256", prefix="sha256=")
    _run(
        "github",
        (understood(target=target, channel=channel, labels=labels), signed),
        needs_secret=True,
        **options,
    )


@connector.command(epilog=examples("trio-relay connector webhook --rules shop.json --try order.json"))
@click.option(
    "--rules", "file", type=click.Path(path_type=Path), required=True, help="What becomes of what: see docs."
)
@_options
def webhook(*, file: Path, target: str | None, channel: str | None, **options: Any) -> None:
    """Take any JSON by rules of your own."""
    from trio_relay.connectors.delivery import bearer  # noqa: PLC0415
    from trio_relay.connectors.rules import by_rules, read_rules  # noqa: PLC0415

    rules = read_rules(_text(file))
    _run(
        "webhook",
        (
            by_rules(rules, target=target, channel=channel),
            lambda secret: rules.check(secret) or bearer(secret),
        ),
        needs_secret=rules.signature is not None,
        **options,
    )


def _run(
    name: str,
    made: Made,
    *,
    host: str,
    port: int | None,
    token_file: Path | None,
    secret_file: Path | None,
    spool: Path | None,
    sample: Path | None,
    headers: tuple[str, ...],
    relay_url: str | None,
    needs_secret: bool = False,
) -> None:
    import platformdirs  # noqa: PLC0415  # --help stays quick
    import trio  # noqa: PLC0415

    from trio_relay.cli.shared.environment import agent_settings, connector_settings, read_secret  # noqa: PLC0415
    from trio_relay.cli.shared.logs import log_to_stderr  # noqa: PLC0415
    from trio_relay.connectors.receiver import Connector, run  # noqa: PLC0415
    from trio_relay.core.timing import backoff  # noqa: PLC0415
    from trio_relay.relay.serving import ServingConfig  # noqa: PLC0415
    from trio_relay.relay.web.access import is_loopback  # noqa: PLC0415

    understand, check = made
    if sample is not None:
        _show(understand, sample, headers)
        return
    settings = connector_settings()
    token = read_secret(token_file) if token_file is not None else settings.token
    secret = read_secret(secret_file) if secret_file is not None else settings.secret
    if token is None:
        raise Failure(
            "the integration's token is missing: AGENT_RELAY_CONNECTOR_TOKEN, or --token-file", BAD_INPUT
        )
    if secret is None and (needs_secret or not is_loopback(host)):
        raise Failure(
            "the senders' secret is missing: AGENT_RELAY_CONNECTOR_SECRET, or --secret-file", BAD_INPUT
        )
    directory = (
        spool or Path(platformdirs.user_state_dir("trio-relay", appauthor=False)) / "connectors" / name
    )
    config = ServingConfig(host=host, port=_PORTS[name] if port is None else port, max_connections=100)
    made_of = Connector(understand, None if secret is None else check(secret), _LARGEST[name])
    log_to_stderr()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            urls = await nursery.start(
                partial(
                    run,
                    made_of,
                    config,
                    directory,
                    relay_url=agent_settings(relay_url=relay_url).relay_url,
                    token=token,
                    delays=partial(backoff, 0.5, 30.0, random.random),
                )
            )
            click.echo(f"{name} connector: {urls[0]} takes deliveries. Ctrl-C stops it.")

    trio.run(serve)


def _show(understand: "Understand", sample: Path, headers: tuple[str, ...]) -> None:
    """Print the events a recorded payload makes."""
    import msgspec  # noqa: PLC0415

    from trio_relay.connectors.delivery import Delivery  # noqa: PLC0415

    text = _text(sample)
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        raise Failure(f"{sample} is not JSON", BAD_INPUT) from None
    given = dict(one.split(":", 1) for one in headers if ":" in one)
    if len(given) < len(headers):
        raise Failure("--header: expected NAME:VALUE", BAD_INPUT)
    named = {key.strip().lower(): value.strip() for key, value in given.items()}
    events = understand(Delivery(named, payload))
    made = [
        {key: value for key, value in msgspec.to_builtins(event).items() if value not in (None, {})}
        for event in events
    ]
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Failure(f"{path} is not a text file", BAD_INPUT) from None
