"""Sending the callbacks that stand in the outbox.

One task a receiver, so that a slow or dead one holds up nobody else. Whatever the relay dies in the middle of is sent
again after the restart, under the same delivery id.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import SystemRandom
from urllib.parse import urlsplit

import structlog
import trio

from trio_relay.client.callback import CallbackPoster
from trio_relay.core.callbacks import pause_after, signed_headers
from trio_relay.core.integrations import Integration
from trio_relay.errors import Unavailable
from trio_relay.relay.operations.callbacks import CALLBACKS, Due, Posted, next_due, record
from trio_relay.relay.service import RelayService

log = structlog.get_logger("trio_relay.callbacks")

#: Posts a body to a URL with headers; answers the HTTP status or the kind of error.
Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[int | str]]
#: Seconds a receiver has for one callback.
PATIENCE = 10.0
#: Look at the outbox at least this often, seconds: the wall clock may jump.
LONGEST_WAIT = 60.0
#: Pause before the store is tried again, seconds.
STORE_PAUSE = 5.0


async def call_back(service: RelayService) -> None:
    """Task: send callbacks over HTTP, once an integration wants them, for ever."""
    while not receivers(service.settings.integrations):
        await service.reconfigured.wait()
    async with CallbackPoster.open() as poster:
        await send_callbacks(service, poster.post, chance=SystemRandom().random)


def receivers(integrations: Iterable[Integration]) -> dict[str, dict[str, str]]:
    """By URL: the integrations that call back there, each with its secret."""
    found: dict[str, dict[str, str]] = {}
    for integration in integrations:
        if integration.callback_url is not None:
            found.setdefault(integration.callback_url, {})[integration.name] = integration.callback_secret
    return found


async def send_callbacks(service: RelayService, post: Post, *, chance: Callable[[], float]) -> None:
    """Task: keep every receiver informed, whoever they are at the moment, for ever. `chance` answers in [0, 1)."""
    while True:
        changed = service.reconfigured
        async with trio.open_nursery() as nursery:
            for url, secrets in receivers(service.settings.integrations).items():
                nursery.start_soon(Receiver(service, url, secrets, post, chance).keep_informed)
            await changed.wait()
            nursery.cancel_scope.cancel()  # what is under way is sent once more, under the same id


class Receiver:
    """One URL that callbacks are posted to, one at a time."""

    def __init__(
        self,
        service: RelayService,
        url: str,
        secrets: Mapping[str, str],
        post: Post,
        chance: Callable[[], float],
    ) -> None:
        self._service = service
        self._url = url
        self._secrets = secrets
        self._post = post
        self._chance = chance
        self._answers = True

    async def keep_informed(self) -> None:
        """Task: post what is due, wait for what is not, until the relay stops."""
        hub, sources = self._service.hub, tuple(self._secrets)
        while not hub.closed:
            with hub.listening(CALLBACKS) as bell:
                try:
                    due = await self._service.read(next_due, sources)
                except Unavailable as error:
                    log.warning("callbacks put off", reason=error.detail)
                    await trio.sleep(STORE_PAUSE)
                    continue
                if due is None or due.wait_ms > 0:
                    wait = LONGEST_WAIT if due is None else min(LONGEST_WAIT, due.wait_ms / 1000)
                    with trio.move_on_after(wait):
                        await bell.wait()
                    continue
            await self._send(due)

    async def _send(self, due: Due) -> None:
        body = due.body.encode()
        headers = signed_headers(
            self._secrets[due.source], delivery=due.delivery, timestamp=self._service.now(), body=body
        )
        began = trio.current_time()
        answer: int | str = "timeout"
        with trio.move_on_after(PATIENCE):
            answer = await self._post(self._url, body, headers)
        duration = round((trio.current_time() - began) * 1000)
        posted = Posted(status=answer) if isinstance(answer, int) else Posted(error=answer)
        pause = None if posted.accepted else pause_after(due.attempt, self._chance)
        self._note(due, posted)
        state = await self._record(due, posted, duration, pause)
        if state == "dead":
            log.warning("callback dead", delivery=due.delivery, task=due.task_id, attempts=due.attempt)

    async def _record(self, due: Due, posted: Posted, duration: int, pause: int | None) -> str | None:
        """Write the attempt down, however long the store takes: it must not be posted again for want of a note."""
        while True:
            try:
                return await self._service.write(record, due.id, posted, duration_ms=duration, pause_ms=pause)
            except Unavailable as error:
                if self._service.hub.closed:
                    return None
                log.warning("callback not noted yet", delivery=due.delivery, reason=error.detail)
                await trio.sleep(STORE_PAUSE)

    def _note(self, due: Due, posted: Posted) -> None:
        """Log when the receiver begins to fail and when it recovers. A URL may hold a secret: only its host is shown."""
        if posted.accepted is not self._answers:
            self._answers = posted.accepted
            host = urlsplit(self._url).hostname
            if posted.accepted:
                log.info("receiver answers again", host=host, integration=due.source)
            else:
                log.warning(
                    "receiver fails",
                    host=host,
                    integration=due.source,
                    status=posted.status,
                    error=posted.error,
                )
