"""``trio-relay version``."""

import click

from trio_relay import __version__


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)
