"""``trio-relay version``."""

import click

from trio_relay import __version__
from trio_relay.cli.shared.calling import json_option
from trio_relay.cli.shared.terminal import echo_json


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    """Print the version."""
    if as_json:
        echo_json({"version": __version__})
    else:
        click.echo(__version__)
