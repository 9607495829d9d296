"""The relay's own tasks beside the server: agents go stale, leases lapse, old messages leave."""

import structlog
import trio

from trio_relay.errors import Unavailable
from trio_relay.relay.service import RelayService

log = structlog.get_logger("trio_relay.housekeeping")

#: A lapsed lease is claimable again within this many seconds (the ε of guarantee G9).
EXPIRY_INTERVAL = 1.0


async def keep_house(service: RelayService) -> None:
    """Task: a round of housekeeping every `reap_interval` seconds, for ever."""
    while True:
        await trio.sleep(service.settings.reap_interval)
        try:
            await service.keep_house()
        except Unavailable as error:
            log.warning("housekeeping put off", reason=error.detail)


async def expire(service: RelayService) -> None:
    """Task: end leases and messages that have run out, every second, for ever."""
    while True:
        await trio.sleep(EXPIRY_INTERVAL)
        try:
            await service.expire()
        except Unavailable as error:
            log.warning("expiry put off", reason=error.detail)
