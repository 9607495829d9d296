"""Several relay processes on one PostgreSQL: telling each other whom to wake, and agreeing who keeps house.

Wake-ups carry ids only, and nothing depends on them: whoever is woken looks into the store. They are told after the
commit (`tell`), what gathers meanwhile together. Four things can lose one, and each makes everybody look once:

- Our link was down: when it is up again.
- It stays down: every `RELOOK` seconds.
- Another node was killed after a commit, before it told. Its sessions end after all that they have committed can be
  seen, and every node looks every second which nodes have sessions; when a name it knows has none left, that is the
  moment. (Every node says its name when its link comes up, so none is gone before it was known.)
- Another node's link was down: it keeps what it has to tell, and tells it as soon as it can.

The leader is whoever holds an advisory lock on its link. The server gives it to another node when that link ends; the
node itself stops leading as soon as it notices. For a moment there may be two: the leader's duties are transactions
and callbacks with an id of their own, which harms nobody.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

import msgspec
import structlog
import trio

from trio_relay.core.timing import backoff
from trio_relay.errors import Unavailable
from trio_relay.relay.hub import Hub
from trio_relay.store.link import Sight, open_link
from trio_relay.supervise import Doorbell, keep_connected

log = structlog.get_logger("trio_relay.nodes")

#: Seconds between two looks at who is there; the leader's place is free no longer than that.
LOOK = 1.0
#: Without a link everybody looks every so many seconds.
RELOOK = 2.0
#: Seconds in which what is to be told gathers after something was told: commits do not wait for notifications, but
#: every one costs the server something (docs/decisions.md).
GATHER = 0.005
#: Bytes of one notification, at most (PostgreSQL takes less than 8000).
PAYLOAD = 7500
#: A clock that differs this much from the server's is reported, ms: leases are judged by the node's clock.
SKEW = 1000


class Link(Protocol):
    """What a node needs of its connection; `Unavailable` says that it is lost."""

    async def listen(self) -> None:
        """Task: pass on what arrives."""

    async def tell(self, payloads: list[str]) -> None:
        """Tell every node."""

    async def look(self) -> Sight:
        """See who is there; lead if nobody does."""
        ...


#: Connects; the function is called with every payload that arrives.
Connect = Callable[[Callable[[str], None]], AbstractAsyncContextManager[Link]]


class Node:
    """This process among those that serve the same database. Run `keep_linked` as long as it serves."""

    def __init__(
        self, name: str, hub: Hub, connect: Connect, *, now: Callable[[], int], chance: Callable[[], float]
    ) -> None:
        self.name = name
        self.linked = False
        self.leading = False
        self._hub = hub
        self._connect = connect
        self._now = now
        self._chance = chance
        self._known: set[str] = set()
        #: Nodes heard of since the last look began.
        self._new: set[str] = set()
        self._untold: set[str] = set()
        self._to_tell = Doorbell()
        self._elected = trio.Event()
        self._term = trio.CancelScope()
        self._skewed = False
        self._deaf = False
        #: Set once the first link is up.
        self.joined = trio.Event()

    @classmethod
    def on(
        cls, url: str, name: str, hub: Hub, *, now: Callable[[], int], chance: Callable[[], float]
    ) -> "Node":
        """A node of the PostgreSQL behind `url`."""
        return cls(name, hub, partial(open_link, url, name), now=now, chance=chance)

    def tell(self, ids: Iterable[str]) -> None:
        """Have the other nodes ring these bells, soon."""
        self._untold.update(ids)
        if self._untold:
            self._to_tell.ring()

    async def keep_linked(self) -> None:
        """Task: hear, tell and look, over one link after another, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_while_deaf)
            await keep_connected(
                partial(self._connect, self._hear),
                self._hold,
                delays=lambda: backoff(0.1, 2.0, self._chance),
                stable_after=5.0,
                on_lost=self._lost,
                weather=(Unavailable,),
            )

    async def lead(self, duties: Callable[[], Awaitable[None]]) -> None:
        """Task: see to the `duties`, which end only by cancellation, whenever this node leads."""
        while True:
            await self._elected.wait()
            if not self.leading:
                continue  # it was over before we woke
            log.info("leading")
            with trio.CancelScope() as self._term:
                await duties()
            log.info("leading no more")

    async def _hold(self, link: Link) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.listen)
                nursery.start_soon(self._keep_telling, link)
                await link.tell([_payload(self.name, ())])
                self.linked = True
                self._deaf = False
                self.joined.set()
                log.info("linked")
                # What was told while we were not there; it is in the store.
                self._hub.ring_all()
                while True:
                    known, self._new = self._known | self._new, set()
                    self._take_in(known, await link.look())
                    await trio.sleep(LOOK)
        finally:
            self.linked = False
            self._step_down()

    def _take_in(self, known: set[str], sight: Sight) -> None:
        self._known = set(sight.present)
        if gone := known - self._known:
            log.info("nodes gone", gone=sorted(gone))
            self._hub.ring_all()
        if sight.leading and not self.leading:
            self.leading = True
            self._elected.set()
        skewed = abs(sight.clock - self._now()) > SKEW
        if skewed and not self._skewed:
            log.warning("clock differs from the database's", ms=self._now() - sight.clock)
        self._skewed = skewed

    def _step_down(self) -> None:
        self.leading = False
        self._elected = trio.Event()
        self._term.cancel()

    async def _keep_telling(self, link: Link) -> None:
        while True:
            await self._to_tell.wait()
            told, self._untold = self._untold, set()
            try:
                await link.tell(pack(self.name, told))
            except BaseException:
                self.tell(told)  # the next link
                raise
            await trio.sleep(GATHER)

    async def _look_while_deaf(self) -> None:
        while True:
            await trio.sleep(RELOOK)
            if not self.linked:
                self._hub.ring_all()

    def _hear(self, payload: str) -> None:
        try:
            name, *ids = msgspec.json.decode(payload, type=list[str])
        except (msgspec.DecodeError, ValueError):
            # Another version of us, or somebody's psql: it is about something.
            self._hub.ring_all()
            return
        if name != self.name:
            self._new.add(name)
            self._hub.ring(ids)

    def _lost(self, error: Exception) -> None:
        if not self._deaf:
            self._deaf = True
            log.warning("link lost", reason=str(error))


def pack(name: str, ids: Iterable[str]) -> list[str]:
    """Write `ids` into as many payloads of bounded size as it takes."""
    payloads: list[str] = []
    piece: list[str] = []
    empty = len(_payload(name, ()).encode())
    size = empty
    for each in ids:
        more = len(msgspec.json.encode(each)) + 1
        if piece and size + more > PAYLOAD:
            payloads.append(_payload(name, piece))
            piece, size = [], empty
        piece.append(each)
        size += more
    return [*payloads, _payload(name, piece)]


def _payload(name: str, ids: Iterable[str]) -> str:
    return msgspec.json.encode([name, *ids]).decode()
