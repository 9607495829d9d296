"""A WebSocket on one connection: hypercorn's stream with the gaps closed (numbers: the package docstring)."""

from dataclasses import replace

import trio
from hypercorn.protocol.events import Body, Data, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from hypercorn.typing import ASGISendEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.events import Event as FrameEvent
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from trio_relay.relay.serving.refusal import refusal_for


class RelayWSStream(WSStream):
    """One WebSocket, from its handshake to its close."""

    #: When the peer was last heard, and whether something of it is just being handed to the app.
    _heard_at = 0.0
    _feeding = False
    _pinging: trio.CancelScope | None = None

    async def handle(self, event: Event) -> None:
        """Take what the peer sent. Data before our 101 ends the connection with 400.

        RFC 6455 makes the client wait for the 101; hypercorn answers 400 once per piece of data while the app may be
        accepting, which breaks h11's state machine and ends the process (1).
        """
        if isinstance(event, Request):
            event = replace(event, headers=[h for h in event.headers if h[0] != b"sec-websocket-extensions"])
        elif isinstance(event, Body | Data) and not self.closed and not self.handshake.accepted:
            await self._refuse_early_data()
            return
        elif isinstance(event, StreamClosed) and self._pinging is not None:
            self._pinging.cancel()
        self._feeding = True
        try:
            await super().handle(event)
        finally:
            self._feeding = False
            self._heard_at = trio.current_time()

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Pass on what the app sends; once closed, yield instead, so that a loop of sends can be cancelled (4)."""
        if self.closed:
            await trio.lowlevel.checkpoint()
        else:
            await super().app_send(message)

    async def _refuse_early_data(self) -> None:
        nothing_answered = self.state is ASGIWebsocketState.HANDSHAKE
        self.closed = True  # first of all: from here on the app's own answer is ignored
        if self.app_put is not None:
            await self.app_put({"type": "websocket.disconnect", "code": CloseReason.ABNORMAL_CLOSURE})
        if nothing_answered:
            await self._send_error_response(400)
        else:
            await self.send(StreamClosed(self.stream_id))

    async def _send_error_response(self, status_code: int) -> None:
        """Answer the handshake with an error and end the connection (hypercorn: an empty body, left open)."""
        refusal = refusal_for(status_code)
        await self.send(Response(self.stream_id, headers=refusal.headers, status_code=status_code))
        await self.send(Body(self.stream_id, data=refusal.body))
        await self.send(EndBody(self.stream_id))
        await self.send(StreamClosed(self.stream_id))

    async def _send_wsproto_event(self, event: FrameEvent) -> None:
        """Write a frame; when the close handshake is on its way, yield instead (4)."""
        try:
            data = self.connection.send(event)
        except LocalProtocolError:
            await trio.lowlevel.checkpoint()
        else:
            await self.send(Data(self.stream_id, data=data))

    async def _handle_events(self) -> None:
        """Act on the frames received. A message over the limit ends the connection at once (5)."""
        assert self.app_put is not None
        for event in self.connection.events():
            if isinstance(event, Message):
                try:
                    self.buffer.extend(event)
                except FrameTooLargeError:
                    self.buffer.clear()
                    await self._end(CloseConnection(code=CloseReason.MESSAGE_TOO_BIG))
                    return
                if event.message_finished:
                    message = self.buffer.to_message()
                    self.buffer.clear()
                    await self.app_put(message)
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                # The peer's close frame to echo, or, in state OPEN, wsproto's verdict on a broken frame to tell.
                await self._end(event.response())
                return

    async def _end(self, close: CloseConnection) -> None:
        if self.connection.state in {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}:
            await self._send_wsproto_event(close)
        await self.send(StreamClosed(self.stream_id))

    async def _send_pings(self) -> None:
        """Ping for as long as the WebSocket is open; end it when the peer stays silent (hypercorn only pings).

        A peer that we are not reading from, because the app has yet to take its last messages, is not silent.
        """
        interval = self.config.websocket_ping_interval
        assert interval is not None
        with trio.CancelScope() as self._pinging:
            while not self.closed:
                if not self._feeding and trio.current_time() - self._heard_at > 2 * interval:
                    await self.send(StreamClosed(self.stream_id))
                    return
                await self._send_wsproto_event(Ping())
                await trio.sleep(interval)
