"""One HTTP exchange with an app, streamed both ways through aiohttp with back-pressure.

Memory does not grow with the size of a body: a slow browser stops the reading from the app, and a slow app stops the
reading from the browser. There is no limit on the time or the size of a body; heads are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from .proxy_headers import Headers
from .proxy_pages import BadAnswer, NoConnection, NothingListens
from .proxy_targets import Target

CONNECT_SECONDS = 10
HEAD_LINE_BYTES_MAX = 32 * 1024
"""The longest line in the head of an app's answer."""
HEAD_LINES_MAX = 128
"""The most header lines in an app's answer."""
HEAD_BYTES_MAX = 64 * 1024
"""The longest head of an app's answer; what stands in front of a hub takes less than that."""
BUFFER_BYTES = 64 * 1024
"""About how much of a body waits in memory; the client reads ahead to twice as much."""

# older aiohttp has no limit on their number, and then only the limit on their sum counts
_LIMITS: dict[str, Any] = {"max_line_size": HEAD_LINE_BYTES_MAX, "max_field_size": HEAD_LINE_BYTES_MAX}
if "max_headers" in inspect.signature(aiohttp.ClientSession.__init__).parameters:
    _LIMITS["max_headers"] = HEAD_LINES_MAX
# the app gets the headers that the browser sent, none of a client library
_NO_DEFAULTS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class AnswerBroken(Exception):
    """The app broke off in the middle of its answer; what the browser has so far is not the whole."""


class UploadPipe:
    """The body of a request on its way from the server (`put`, `end`) to the client (`chunks`), in few pieces."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=2)
        self._abandoned = False

    async def put(self, piece: bytes) -> None:
        """Hand over a piece; waits while the app is slow, and drops it when nobody wants it any more."""
        if not self._abandoned:
            await self._pieces.put(piece)

    async def end(self) -> None:
        """Say that the body is complete."""
        if not self._abandoned:
            await self._pieces.put(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces in order, until the body is complete."""
        while (piece := await self._pieces.get()) is not None:
            yield piece

    def abandon(self) -> None:
        """Drop this and everything that still comes: the app has answered, or is gone."""
        self._abandoned = True
        while not self._pieces.empty():
            self._pieces.get_nowait()


class Answer:
    """The head of an app's answer, and its body piece by piece."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.reason = response.reason or ""
        # latin-1 keeps every byte as it is
        self.headers: Headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in response.raw_headers]
        self._sized = any(name.lower() in ("content-length", "transfer-encoding") for name, _ in self.headers)
        self._reset = False
        # a body that came with the head has let the connection go already
        protocol = response.connection.protocol if response.connection is not None else None
        closed = protocol.closed if protocol is not None else None
        if closed is not None:
            closed.add_done_callback(self._connection_closed)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Pieces as they arrive, not more than a buffer at a time; `AnswerBroken` when the rest will not come."""
        try:
            async for piece in self._response.content.iter_any():
                yield piece
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, asyncio.TimeoutError) as error:
            raise AnswerBroken(type(error).__name__) from None
        if self._reset and not self._sized:
            raise AnswerBroken("reset")  # the client takes every end for the end of a body without a length

    def _connection_closed(self, closed: asyncio.Future[None]) -> None:
        """Tell the reader when the connection is gone and the body is not complete.

        The client closes the connection on a malformed chunk, but its reader is told only when that chunk came
        together with the head; otherwise it would wait for ever (aiohttp 3.14 with its C parser).
        """
        self._reset = not closed.cancelled() and closed.exception() is not None
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the body is malformed"))


class _Pinned(AbstractResolver):
    """Answers with the addresses that were checked, whatever the DNS would say now."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _connector(target: Target) -> aiohttp.BaseConnector:
    # one connection for one request: no reuse means no request lost on a connection that the app was about to close
    if target.unix_socket:
        return aiohttp.UnixConnector(target.unix_socket, force_close=True)
    return aiohttp.TCPConnector(resolver=_Pinned(target.addresses), use_dns_cache=False, force_close=True)


def _outgoing(headers: Headers) -> CIMultiDict[str]:
    # the server read the bytes as latin-1, the client writes UTF-8
    return CIMultiDict((name, value.encode("latin-1", "replace").decode("utf-8", "replace")) for name, value in headers)


@contextlib.asynccontextmanager
async def ask(
    target: Target, method: str, path: str, query: str, headers: Headers, upload: UploadPipe | None
) -> AsyncIterator[Answer]:
    """Send a request to an app and give its `Answer`; leaving the context closes the connection.

    Parameters
    ----------
    path, query
        Quoted already; they are sent as they are.
    headers
        All headers of the request, with the Host.
    upload
        The body, or None when the request has none.

    Raises
    ------
    NothingListens, NoConnection, BadAnswer
    """
    url = URL.build(
        scheme="http", host="localhost", port=target.port or None, path=path, query_string=query, encoded=True
    )
    async with aiohttp.ClientSession(
        connector=_connector(target),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_NO_DEFAULTS,
        read_bufsize=BUFFER_BYTES,
        **_LIMITS,
    ) as session:
        data = upload.chunks() if upload else None
        try:
            response = await session.request(method, url, headers=_outgoing(headers), data=data, allow_redirects=False)
        except aiohttp.ClientConnectorError:
            raise NothingListens(f"Nothing listens on {target.label} yet.", hint=_WAITING) from None
        except (aiohttp.ServerTimeoutError, asyncio.TimeoutError):
            raise NoConnection(f"The app on {target.label} is too busy to accept a connection.") from None
        except aiohttp.ServerDisconnectedError:
            raise BadAnswer(f"The app on {target.label} closed the connection without an answer.") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise _unreadable(target) from None
        # not `async with`: that would wait for the rest of an answer that nobody wants
        try:
            answer = Answer(response)
            if response.status < 200 or sum(len(n) + len(v) + 4 for n, v in answer.headers) > HEAD_BYTES_MAX:
                raise _unreadable(target)
            yield answer
        finally:
            response.close()


_WAITING = "Start your app; this page opens it as soon as it answers."


def _unreadable(target: Target) -> BadAnswer:
    return BadAnswer(
        f"The app on {target.label} sent an answer that cannot be read.", hint="The app's own log may say more."
    )
