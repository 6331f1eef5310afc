"""WebSockets through the port proxy: the handshake is read and filtered, then bytes flow both ways untouched.

Because frames are not taken apart, sub-protocols, extensions, pings, close codes and messages of any size are those of
the app and the browser, and memory does not grow with a message or with a slow reader.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from tornado import httputil
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.iostream import IOStream, StreamClosedError

from .proxy_headers import Headers
from .proxy_pages import BadAnswer, NoConnection, NothingListens
from .proxy_stream import CONNECT_SECONDS, HEAD_BYTES_MAX
from .proxy_targets import Target

PIECE_BYTES = 64 * 1024
LINGER_SECONDS = 2
"""How long the other side may still read after one side has closed, so that the close frame arrives."""


class Handshake(httputil.HTTPMessageDelegate):
    """What the app answered to an upgrade.

    Attributes
    ----------
    status
        Of the answer, 101 when the app accepted; 0 when there was none.
    headers
        Of the answer.
    stream
        The open connection when the app accepted, else None.
    """

    def __init__(self, connection: HTTP1Connection) -> None:
        self._connection = connection
        self.status = 0
        self.headers: Headers = []
        self.stream: IOStream | None = None

    def headers_received(
        self, start_line: httputil.RequestStartLine | httputil.ResponseStartLine, headers: httputil.HTTPHeaders
    ) -> None:
        """Keep the head; take the connection over when the app accepted, and close it when it did not."""
        code = getattr(start_line, "code", 0)
        if 100 <= code < 200 and code != 101:
            return
        self.status = code
        self.headers = list(headers.get_all())
        if code == 101:
            self.stream = self._connection.detach()
        else:
            # the body of a refusal interests nobody, a WebSocket shows it to no script
            self._connection.close()


async def connect(target: Target) -> IOStream:
    """A connection to the app; `NothingListens` or `NoConnection` when there is none."""
    ends: list[tuple[int, str | tuple[str, int]]] = (
        [(socket.AF_UNIX, target.unix_socket)]
        if target.unix_socket
        else [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, (address, target.port))
            for address in target.addresses
        ]
    )
    for family, end in ends:
        stream: IOStream | None = None
        try:
            stream = IOStream(socket.socket(family, socket.SOCK_STREAM))
            await asyncio.wait_for(stream.connect(end), CONNECT_SECONDS)  # type: ignore[arg-type]
        except asyncio.TimeoutError:
            _close(stream)
            raise NoConnection(f"The app on {target.label} is too busy to accept a connection.") from None
        except (OSError, StreamClosedError):
            _close(stream)
            continue
        return stream
    raise NothingListens(f"Nothing listens on {target.label} yet.")


def _close(stream: IOStream | None) -> None:
    if stream is not None:
        stream.close()


async def handshake(stream: IOStream, target: Target, request_target: str, headers: Headers) -> Handshake:
    """Ask the app to upgrade; closes `stream` unless the app accepted.

    Raises
    ------
    BadAnswer
        The app answered no HTTP, too long a head, or nothing.
    """
    limits = HTTP1ConnectionParameters(no_keep_alive=True, max_header_size=HEAD_BYTES_MAX)
    connection = HTTP1Connection(stream, True, limits)
    sent = httputil.HTTPHeaders()
    for name, value in [*headers, ("Connection", "Upgrade"), ("Upgrade", "websocket")]:
        sent.add(name, value)
    reply = Handshake(connection)
    try:
        connection.write_headers(httputil.RequestStartLine("GET", request_target, "HTTP/1.1"), sent)
        connection.finish()
        await connection.read_response(reply)
    except StreamClosedError:
        pass
    if reply.stream is None:
        stream.close()
    if not reply.status:
        raise BadAnswer(f"The app on {target.label} did not answer the WebSocket.")
    return reply


async def tunnel(browser: IOStream, app: IOStream, on_bytes: Callable[[], None]) -> None:
    """Carry bytes both ways until one side closes and the other has had the time to read the last of it."""
    up = asyncio.ensure_future(_pump(browser, app, on_bytes))
    down = asyncio.ensure_future(_pump(app, browser, on_bytes))
    try:
        _, open_ways = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if open_ways:
            await asyncio.wait(open_ways, timeout=LINGER_SECONDS)
    finally:
        browser.close()
        app.close()
        await asyncio.gather(up, down, return_exceptions=True)


async def _pump(source: IOStream, sink: IOStream, on_bytes: Callable[[], None]) -> None:
    """Move bytes until `source` ends, waiting for `sink` before reading on; then tell `sink` that nothing follows.

    What comes for a sink that is gone is read and dropped: unread bytes would turn our close into a reset, which
    would take the last frame away from the other side.
    """
    wanted = True
    try:
        while True:
            piece = await source.read_bytes(PIECE_BYTES, partial=True)
            if wanted:
                on_bytes()
                try:
                    await sink.write(piece)
                except StreamClosedError:
                    wanted = False
    except StreamClosedError:
        pass
    if not sink.closed():
        try:
            sink.socket.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()
