"""What a command says and how it exits when it cannot do what was asked.

==== =====================================================================
code meaning
==== =====================================================================
0    done
1    this machine failed us: a file, an address in use
2    the command line or the input cannot be meant
3    the relay understood and refused: unknown, not allowed, replaced, held
4    the relay cannot be reached, or cannot answer now
5    sent, but the rung asked for with ``--wait`` was not reached
130  stopped with Ctrl-C
==== =====================================================================

An error we raise on purpose becomes one line on stderr. Anything else is a bug and keeps its traceback: a report
without one helps nobody, and no traceback of ours holds message text.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from trio_relay.cli.shared.terminal import printable
from trio_relay.errors import (
    Conflict,
    ConnectionLost,
    Invalid,
    NotDelivered,
    NotFound,
    RateLimited,
    Refused,
    RelayError,
    StoreInUse,
    Unavailable,
)

FAILED = 1
BAD_INPUT = 2
REFUSED = 3
UNREACHABLE = 4
NOT_DELIVERED = 5
INTERRUPTED = 130

_EXIT_CODES: tuple[tuple[type[RelayError], int], ...] = (
    (Invalid, BAD_INPUT),
    (NotFound, REFUSED),
    (Conflict, REFUSED),
    (Refused, REFUSED),
    (StoreInUse, REFUSED),
    (ConnectionLost, UNREACHABLE),
    (Unavailable, UNREACHABLE),
    (RateLimited, UNREACHABLE),
    (NotDelivered, NOT_DELIVERED),
)


#: Refusals that are about the command line itself.
_BY_CODE = {"open_bind": BAD_INPUT, "integration_token_shared": BAD_INPUT, "store_too_new": REFUSED}

#: What a person at a terminal does about it, where the fields of the API say it in its own words.
_ADVICE = {
    "unknown_recipient": "`trio-relay agents` lists who is; `send --allow-unknown` keeps a message until its agent comes"
}


class Failure(Exception):  # noqa: N818  # a command's last words
    """Ends a command with one line on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class Group(click.Group):
    """A click group whose commands end in one clear line, never in the traceback of an expected error."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see ``explained``."""
        with explained():
            return super().invoke(ctx)


class Command(click.Command):
    """The same for a command that stands alone."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see ``explained``."""
        with explained():
            return super().invoke(ctx)


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors meant for people into one line and an exit code, Ctrl-C into a quiet exit.

    Exception groups are opened: nurseries wrap what happens inside them.
    """
    try:
        yield
    except (Failure, RelayError, OSError, KeyboardInterrupt, BaseExceptionGroup) as error:
        leaves = list(_leaves(error))
        for leaf in leaves:
            if isinstance(leaf, BrokenPipeError):
                raise leaf from None  # click ends quietly: whoever read our output has gone
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
            raise click.exceptions.Exit(INTERRUPTED) from None
        failures = [failure for leaf in leaves if (failure := _failure(leaf))]
        if len(failures) < len(leaves):
            raise  # a bug is among them
        messages = dict.fromkeys(failure.message for failure in failures)
        click.echo(f"{_program()}: {printable('; '.join(messages))}", err=True)
        raise click.exceptions.Exit(failures[0].exit_code) from None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _failure(error: BaseException) -> Failure | None:
    if isinstance(error, Failure):
        return error
    if isinstance(error, RelayError):
        code = _BY_CODE.get(error.code) or next(
            (code for kind, code in _EXIT_CODES if isinstance(error, kind)), FAILED
        )
        if error.code in _ADVICE:
            return Failure(f"{error.detail}; {_ADVICE[error.code]}", code)
        fields = "".join(f"; {field.path}: {field.message}" for field in error.fields)
        return Failure(error.detail + fields, code)
    if isinstance(error, OSError):
        return Failure(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    return None


def _program() -> str:
    context = click.get_current_context(silent=True)
    return (context.find_root().info_name if context else None) or "trio-relay"
