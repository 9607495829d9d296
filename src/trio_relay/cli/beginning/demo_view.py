"""What the demo's audience sees: the conversation, and under each message the rungs it has climbed.

Everything here was read from the relay over HTTP; nothing is shown that the relay does not say.
"""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from trio_relay.cli.shared.terminal import printable
from trio_relay.core.model import Rung
from trio_relay.core.wire import Message, Receipt

LADDER = (Rung.ACCEPTED, Rung.QUEUED, Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED)
_COLOURS = ("cyan", "magenta", "yellow", "blue")


@dataclass(frozen=True, slots=True)
class Scene:
    """What the relay said at one instant: the messages, oldest first, and the ladders of each."""

    url: str
    messages: list[Message]
    ladders: dict[int, list[Receipt]]

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it: two lines a message, three for claimable work."""
        arrow, reached, pending = ("->", "*", ".") if options.ascii_only else ("→", "●", "○")
        yield Text.assemble(
            ("trio-relay demo", "bold"), f"  a relay at {self.url}, and two agents in the room"
        )
        for message in self.messages:
            yield Text()
            yield _said(message, self._colour(message.sender), arrow)
            for ladder in self.ladders.get(message.id, []):
                yield _rungs(ladder, reached, pending)
            if message.claimable:
                yield _claim(message, self.ladders.get(message.id, []))

    def _colour(self, sender: str) -> str:
        names = list(dict.fromkeys(message.sender for message in self.messages))
        return _COLOURS[names.index(sender) % len(_COLOURS)]


def _said(message: Message, colour: str, arrow: str) -> Text:
    who = f"{printable(message.sender)} {arrow} {printable(message.to)}"
    answers = f" (answers {message.reply_to})" if message.reply_to else ""
    return Text.assemble(
        (f"{message.id}  ", "dim"), (f"{who}  ", f"bold {colour}"), printable(message.body), (answers, "dim")
    )


def _rungs(ladder: Receipt, reached: str, pending: str) -> Text:
    seen = {step.state for step in ladder.steps}
    line = Text("   ")
    for rung in LADDER:
        name = rung.value.replace("_", " ")
        line.append(
            f"{reached} {name} " if rung in seen else f"{pending} {name} ", "green" if rung in seen else "dim"
        )
    return line


def _claim(message: Message, ladders: list[Receipt]) -> Text:
    if any(ladder.state in (Rung.ANSWERED, Rung.SETTLED) for ladder in ladders):
        return Text(f"   done, by {printable(message.claimed_by or 'one')} alone", "green")
    if message.claimed_by is not None:
        return Text(f"   claimed by {printable(message.claimed_by)}: nobody else can take it", "yellow")
    return Text("   open: the first to claim it has it alone", "dim")
