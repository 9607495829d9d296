"""The relay's own tasks beside the server: agents go stale, leases lapse, old messages leave."""

import structlog
import trio

from trio_relay.errors import Unavailable
from trio_relay.relay.service import RelayService

log = structlog.get_logger("trio_relay.housekeeping")

#: A lapsed lease is claimable again within this many seconds (the ε of guarantee G9).
LEASE_INTERVAL = 1.0


async def keep_house(service: RelayService) -> None:
    """Task: a round of housekeeping every `reap_interval` seconds, for ever."""
    while True:
        await trio.sleep(service.settings.reap_interval)
        try:
            await service.keep_house()
        except Unavailable as error:
            log.warning("housekeeping put off", reason=error.detail)


async def expire_leases(service: RelayService) -> None:
    """Task: open lapsed leases, every second, for ever."""
    while True:
        await trio.sleep(LEASE_INTERVAL)
        try:
            await service.expire_leases()
        except Unavailable as error:
            log.warning("lease expiry put off", reason=error.detail)
