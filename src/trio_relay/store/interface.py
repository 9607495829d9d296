"""What every store is: two verbs, a name, and a word at each commit."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
#: Run a blocking function off the event loop: ``trio.to_thread.run_sync`` or a stand-in.
RunSync = Callable[..., Awaitable[Any]]
#: What the sessions of a node call themselves on a PostgreSQL, before its name: ``application_name``, 63 bytes in all.
APPLICATION = "trio-relay "


class Store(Protocol):
    """An open store. An operation is a synchronous function of a connection, and one transaction."""

    #: What people call it: the file, or the URL without its password.
    name: str
    #: Told of every commit: how many operations shared it, and the seconds it took.
    on_commit: Callable[[int, float], None] | None

    async def write(
        self, operation: Callable[[Any], T], *, after: Callable[[T], None] | None = None, alone: bool = True
    ) -> T:
        """Run `operation` in a transaction; when this returns, what it did is durable.

        `after(result)` is called in the event loop right after the commit, before this returns, and also when the
        caller was cancelled meanwhile: a client that hangs up does not undo what was done for it.

        `alone`: nothing else is written meanwhile, in this process or another. An operation that has been thought
        through for running beside others may do without (`trio_relay.store.locks`).

        Raises:
            Unavailable: the store is closing or cannot write now; nothing was changed, unless the error says that
                this is not known.
            Exception: whatever `operation` raised; nothing was changed.

        """

    async def read(self, operation: Callable[[Any], T], *, fresh: bool = False) -> T:
        """Run `operation` on a connection that sees every commit made before this call and cannot write.

        It sees one snapshot, however many statements it makes. `fresh`: each statement sees what was committed when
        it began.

        Raises:
            Unavailable: the store cannot be read now.
            Exception: whatever `operation` raised.

        """
