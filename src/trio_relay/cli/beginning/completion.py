"""``trio-relay completion``: what a shell needs to complete commands, options and the names of agents."""

import click

from trio_relay.cli.shared.calling import examples

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        "echo 'eval \"$(trio-relay completion bash)\"' >> ~/.bashrc",
        "echo 'eval \"$(trio-relay completion zsh)\"' >> ~/.zshrc",
        "trio-relay completion fish > ~/.config/fish/completions/trio-relay.fish",
    )
)
@click.argument("shell", type=click.Choice(_SHELLS), metavar="bash|zsh|fish")
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print what makes your shell complete commands, options, and the agents that are in the room.

    Agents are asked of the relay the shell's environment names, which is given half a second.
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415  # only here

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    program = root.info_name or "trio-relay"
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    click.echo(kind(root.command, {}, program, variable).source())
