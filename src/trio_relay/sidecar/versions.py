"""Whether the relay is of our version: said once in the log, and kept in the state file."""

import structlog

from trio_relay import __version__
from trio_relay.client import RelayClient
from trio_relay.core.versions import difference
from trio_relay.core.wire import Health
from trio_relay.errors import RelayError
from trio_relay.sidecar.state_file import StateFile

log = structlog.get_logger("trio_relay.sidecar")


async def note_relay(relay: RelayClient, book: StateFile) -> None:
    """Ask the relay for its version, and say so if it is another than ours; nothing depends on the answer."""
    try:
        version = (await relay.call("GET", "/healthz", Health)).version
    except RelayError:
        return
    if book.state.versions.get("relay") == version:
        return
    book.update(versions={**book.state.versions, "relay": version})
    if (found := difference(version, __version__)) is not None:
        log.warning("versions differ", about=found)
