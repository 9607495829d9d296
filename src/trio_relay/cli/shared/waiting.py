"""``--wait``: watching a message climb its ladders until it is where its sender wants it, and showing that as it happens."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from trio_relay.cli.shared.failures import NOT_DELIVERED, Failure
from trio_relay.cli.shared.params import DURATION
from trio_relay.cli.shared.terminal import console, echo_json, printable, printable_text
from trio_relay.core.ladder import FINAL, was_on
from trio_relay.core.model import Rung, Verdict
from trio_relay.core.wire import Message, Receipt, SentMessage

if TYPE_CHECKING:
    from rich.text import Text

    from trio_relay.client.http import RelayClient

#: How often receipts are read while waiting for a rung, seconds.
LOOK_EVERY = 0.1

_WAITABLE = (Rung.HANDED_OFF, Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED)
VERDICTS = {
    Verdict.LIVE_IDLE: "live and idle",
    Verdict.LIVE_BUSY: "live, busy now",
    Verdict.DEAF: "registered but not listening",
    Verdict.OFFLINE_QUEUED: "offline: it waits in the inbox",
}
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wait:
    """What ``--wait`` and ``--timeout`` ask for; `patience` in seconds."""

    rung: Rung
    patience: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message: the ladders when waiting ended, the answers, and whether the rung was reached."""

    message: SentMessage
    receipts: list[Receipt]
    answers: list[Message]
    reached: bool


def wait_options(function: Function) -> Function:
    """Add ``--wait`` and ``--timeout``."""
    rung = click.option(
        "--wait",
        "rung",
        type=click.Choice([rung.value for rung in _WAITABLE]),
        metavar="RUNG",
        help="Wait until every recipient (of a claimable: one) is there: handed_off, in_context, answered or "
        "settled. Exit 5 if not.",
    )
    timeout = click.option(
        "--timeout",
        type=DURATION,
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="How long --wait waits.",
    )
    return rung(timeout(function))


def wait_of(rung: str | None, timeout: float) -> Wait | None:
    """Read the two options."""
    return None if rung is None else Wait(Rung(rung), timeout)


async def follow_up(relay: "RelayClient", message: SentMessage, wait: Wait | None, *, as_json: bool) -> None:
    """Tell a person what became of a message just sent, as far as `wait` asks; with `as_json` at the end, for programs.

    Raises:
        Failure: the rung was not reached; exit code 5.

    """
    if not as_json:
        click.echo(accepted(message))
    if wait is None:
        if as_json:
            echo_json({"message": message, "receipts": [], "answers": []})
        return
    if as_json:
        outcome = await wait_for(relay, message, wait.rung, wait.patience)
        echo_json({"message": outcome.message, "receipts": outcome.receipts, "answers": outcome.answers})
    else:
        with LadderView() as view:
            outcome = await wait_for(relay, message, wait.rung, wait.patience, view.show)
        click.echo(answers_as_text(outcome.answers), nl=False)
    if not outcome.reached:
        raise Failure(f"message {message.id} is not {wait.rung} after {wait.patience:g} s", NOT_DELIVERED)


async def wait_for(
    relay: "RelayClient",
    message: SentMessage,
    rung: Rung,
    patience: float,
    show: Callable[[Sequence[Receipt]], None] = lambda _: None,
) -> Outcome:
    """Watch the ladders until they are on `rung` or above, cannot get there any more, or `patience` seconds are over.

    Every recipient must get there; of those who were offered a claimable, one. What is seen at each look is shown. One
    look is taken however short the patience, and takes what time a request may take.
    """
    import trio  # noqa: PLC0415  # --help stays quick

    ladders: list[Receipt] = []
    enough = any if message.claimable else all
    over = trio.current_time() + patience
    with trio.CancelScope() as waiting:
        while True:
            ladders = await relay.receipts(message.id)
            show(ladders)
            waiting.deadline = over
            if ladders and enough(has_reached(ladder, rung) for ladder in ladders):
                answers = [each for each in await relay.thread(message.id) if each.reply_to == message.id]
                return Outcome(message, ladders, answers, reached=True)
            if ladders and not enough(
                has_reached(ladder, rung) or ladder.state not in FINAL for ladder in ladders
            ):
                break
            await trio.sleep(LOOK_EVERY)
    return Outcome(message, ladders, [], reached=False)


def has_reached(ladder: Receipt, rung: Rung) -> bool:
    """Whether this recipient was seen on `rung`, or on one that implies it."""
    return was_on({step.state for step in ladder.steps}, rung)


def accepted(message: SentMessage) -> str:
    """Write what the relay said to the message, for people."""
    lines = [f"Message {message.id} to {printable(message.to)}: accepted, safe on disk."]
    lines += [f"  {printable(each.agent_id)}: {VERDICTS[each.verdict]}" for each in message.recipients]
    if message.parked_reason is not None:
        lines.append(f"  held: its thread waits for a person ({printable(message.parked_reason)})")
    elif message.parked:
        lines.append("  nobody answers to that yet: it waits for the first who does")
    return "\n".join(lines)


def answers_as_text(answers: Sequence[Message]) -> str:
    """Write what was answered."""
    return "".join(
        f"\n{printable(answer.sender)} answered ({answer.id}):\n{printable_text(answer.body)}\n"
        for answer in answers
    )


def ladder_line(ladder: Receipt, width: int = 0) -> str:
    """Write how far a recipient got, in a line: every rung with the seconds it took from the first."""
    start = ladder.steps[0].at if ladder.steps else 0
    rungs = [
        step.state.value if step.at == start else f"{step.state.value} +{(step.at - start) / 1000:.2f} s"
        for step in ladder.steps
        if step.state is not Rung.ACCEPTED
    ]
    return f"  {printable(ladder.agent_id):<{width}}  {' → '.join(rungs) or ladder.state.value}"


class LadderView:
    """Shows ladders as they are climbed: on a terminal in place, elsewhere a line for every change."""

    def __init__(self) -> None:
        self._shown: dict[str, Rung] = {}
        self._live: Any = None
        self._console = console()

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.live import Live  # noqa: PLC0415  # only on a terminal

            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, ladders: Sequence[Receipt]) -> None:
        """Show how it stands, if there is anything new."""
        states = {ladder.agent_id: ladder.state for ladder in ladders}
        if states == self._shown:
            return
        changed = [ladder for ladder in ladders if self._shown.get(ladder.agent_id) != ladder.state]
        self._shown = states
        if self._live is not None:
            self._live.update(self._drawn(ladders), refresh=True)
        else:
            for ladder in changed:
                click.echo(f"  {printable(ladder.agent_id)}: {ladder.state.value}")

    def _drawn(self, ladders: Sequence[Receipt]) -> "Text":
        from rich.text import Text  # noqa: PLC0415  # only on a terminal

        width = max((len(printable(ladder.agent_id)) for ladder in ladders), default=0)
        room = max(4, self._console.size.height - 4)
        lines = [Text(ladder_line(ladder, width), style=_style(ladder.state)) for ladder in ladders[:room]]
        if len(ladders) > room:
            lines.append(Text(f"  and {len(ladders) - room} more", style="dim"))
        return Text("\n").join(lines)


def _style(state: Rung) -> str:
    if state in (Rung.IN_CONTEXT, Rung.ANSWERED, Rung.SETTLED):
        return "green"
    return "red" if state in FINAL else ""
