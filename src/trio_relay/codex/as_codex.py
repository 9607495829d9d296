"""When `codex-relay` stands in for `codex`, as under an alias: what is for Codex alone goes to Codex as it is. Pure."""

from itertools import takewhile

from trio_relay.codex.arguments import read_codex_arguments
from trio_relay.errors import Invalid

_QUESTIONS = frozenset({"-h", "--help", "-V", "--version"})


def is_for_codex_alone(given: tuple[str, ...]) -> bool:
    """Whether these arguments open no session that the relay could join: such as ``exec`` or ``login``."""
    if _QUESTIONS & set(takewhile(lambda one: one != "--", given)):
        return True
    try:
        read_codex_arguments(given)
    except Invalid:
        return True
    return False
