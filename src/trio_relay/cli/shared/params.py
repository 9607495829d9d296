"""Kinds of numbers that commands take. Their bounds stand in the error when they are broken, not in every help."""

import click


class Number(click.IntRange):
    """A whole number within bounds."""

    def _describe_range(self) -> str:
        return ""  # what click would write behind the help: [x>=1]


class Seconds(click.FloatRange):
    """A length of time, or another number with a fraction, within bounds."""

    def _describe_range(self) -> str:
        return ""


#: The number of a message, a task, a token.
ID = Number(1)
#: More than no time.
DURATION = Seconds(0, min_open=True)
