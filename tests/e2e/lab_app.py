"""A small web app that runs inside a workspace: it shows what reaches it, and streams in every way there is.

Started there as ``python lab_app.py PORT [PREFIX]``; with a prefix it serves under the whole path only.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys

from aiohttp import web

PIECE = bytes(range(256)) * 4096  # 1 MiB
PIECES = 1024


async def page(request: web.Request) -> web.Response:
    return web.Response(text=f"<h1>It works</h1><p>{request.path}</p>", content_type="text/html")


async def headers(request: web.Request) -> web.Response:
    return web.json_response({name.lower(): value for name, value in request.headers.items()})


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(str(sorted(name.lower() for name in request.headers)))
    async for message in socket:
        await socket.send_str(message.data[::-1])
    return socket


async def events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(3):
        await response.write(f"data: {number}\n\n".encode())
        await asyncio.sleep(0.2)
    return response


async def large(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(PIECE) * PIECES)})
    await response.prepare(request)
    for _ in range(PIECES):
        await response.write(PIECE)
    return response


async def checksum(_: web.Request) -> web.Response:
    digest = hashlib.sha256()
    for _ in range(PIECES):
        digest.update(PIECE)
    return web.Response(text=digest.hexdigest())


def main(port: int, prefix: str = "") -> None:
    app = web.Application()
    for path, handler in {
        "/": page,
        "/headers": headers,
        "/echo": echo,
        "/events": events,
        "/large": large,
        "/checksum": checksum,
    }.items():
        app.router.add_get(prefix.rstrip("/") + path, handler)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:3])
