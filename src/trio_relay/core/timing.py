"""When to act: pauses between attempts, and how long a burst may gather before it becomes one turn.

Seconds everywhere. Chance is handed in as a function that answers in ``[0, 1)``, so a test can fix it.
"""

from collections.abc import Callable, Iterator

#: A message to an idle thread waits this long for company. A script that sends in a loop is well inside it, a
#: person does not notice it.
QUIET = 0.02


def backoff(initial: float, maximum: float, chance: Callable[[], float]) -> Iterator[float]:
    """Pauses before each attempt, for ever: none before the first, then doubling up to `maximum`.

    Each pause lies between half and the whole of its step, so that many clients of one restarted server do not
    all come back in the same instant.
    """
    yield 0.0
    step = min(initial, maximum)
    while True:
        yield step * (0.5 + chance() / 2)
        step = min(step * 2, maximum)


def due_at(first: float, last: float, *, active: bool, window: float) -> float:
    """When a batch whose messages arrived between `first` and `last` should be delivered.

    Never later than `window` after the first. To an idle thread it goes as soon as arrivals pause. Into a running
    turn it takes the whole window, because there each delivery cuts off what the model is saying
    (Codex 0.169 preempts the running model request on a steer).
    """
    return first + window if active else min(first + window, last + QUIET)
