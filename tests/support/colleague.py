"""A model that behaves: it reads what the relay announces to it and answers, whatever session it speaks in.

``colleague = Colleague(); world.model.script = colleague``. It goes by what it is shown, as a model would: an announcement
is known by the command it names.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from support.mock_messages import MessagesRequest, Reply, Text, bash

_ANNOUNCED = re.compile(r"relay message (\d+) from .*\(fetch it: trio-relay read \d+\)")

#: What it says when there is nothing left to do.
DONE = "That is all."


def announced(text: str) -> dict[int, str]:
    """The messages that are announced in a text, each with the line about it."""
    return {int(found[1]): found[0] for found in _ANNOUNCED.finditer(text)}


def by_command(number: int, _: str) -> list[Reply]:
    """Fetch a message and answer it, with the CLI."""
    return [bash(f"trio-relay read {number}"), bash(f"trio-relay reply {number} 'It is 42.'")]


@dataclass
class Colleague:
    """The script.

    `told`: what it does when it is told certain words for the first time. `answers`: what it does about a message, from
    its number and the line that announces it. `meanwhile`: what it does again and again while nothing else is to be
    done; None: its turn ends.
    """

    told: dict[str, Sequence[Reply]] = field(default_factory=dict)
    answers: Callable[[int, str], Sequence[Reply]] = by_command
    meanwhile: Reply | None = None
    #: How often each message was announced.
    heard: dict[int, int] = field(default_factory=dict)
    _agenda: list[Reply] = field(default_factory=list)

    def __call__(self, request: MessagesRequest) -> Reply:
        news = request.news
        for number, line in announced(news).items():
            self.heard[number] = self.heard.get(number, 0) + 1
            if self.heard[number] == 1:
                self._agenda += self.answers(number, line)
        for words in [each for each in self.told if each in news]:
            self._agenda += self.told.pop(words)
        if self._agenda:
            return self._agenda.pop(0)
        return self.meanwhile or Text(DONE)
