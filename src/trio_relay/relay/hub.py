"""Who waits for what: the doorbells of long polls.

A poll hangs up its bell before it looks into the store, so a message that commits between the look and the wait still
rings. Ringing carries nothing: whoever is woken looks again. When the relay stops, every bell rings at once.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import trio

from trio_relay.relay.operations.callbacks import CALLBACKS
from trio_relay.relay.operations.tx import EVENTS

#: The bell of whoever only waits for time to pass; no agent id has a control character in it.
PAUSES = "\x00"


class Hub:
    """The doorbells, by agent id."""

    def __init__(self) -> None:
        self._bells: dict[str, set[trio.Event]] = {}
        self.closed = False

    @contextmanager
    def listening(self, agent_id: str) -> Iterator[trio.Event]:
        """Hang up a bell for `agent_id` while the block runs. It rings once; take a new one to wait again."""
        bell = trio.Event()
        if self.closed:
            bell.set()
        self._bells.setdefault(agent_id, set()).add(bell)
        try:
            yield bell
        finally:
            bells = self._bells[agent_id]
            bells.discard(bell)
            if not bells:
                del self._bells[agent_id]

    def ring(self, agent_ids: Iterable[str]) -> None:
        """Wake every poll of these agents."""
        for agent_id in agent_ids:
            for bell in self._bells.get(agent_id, ()):
                bell.set()

    def ring_all(self) -> None:
        """Wake everybody: something may have been missed."""
        self.ring(list(self._bells))

    async def pause(self, until: float) -> None:
        """Sleep until a moment of trio's clock, or until the relay stops."""
        with self.listening(PAUSES) as bell, trio.move_on_at(until):
            await bell.wait()

    def close(self) -> None:
        """Wake everybody, now and from now on: the relay is stopping."""
        self.closed = True
        self.ring_all()

    @property
    def waiting(self) -> int:
        """How many bells hang."""
        return sum(len(bells) for bells in self._bells.values())

    @property
    def waiting_for_messages(self) -> int:
        """How many polls are open: every bell but those of the relay's own tasks."""
        return self.waiting - sum(len(self._bells.get(name, ())) for name in (EVENTS, CALLBACKS, PAUSES))
