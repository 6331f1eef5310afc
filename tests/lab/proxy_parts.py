"""Real parts for the tests of the port proxy: a Jupyter server in its own process, web apps, and raw servers.

This module is also the server extension that the Jupyter server of the tests loads.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import aiohttp
import psutil
from aiohttp import WSMsgType, web

HERE = Path(__file__).parent
LAB = HERE.parents[1] / "labextension"
TOKEN = "0123456789abcdef0123456789abcdef"
BASE = "/user/mia/lab/"
START_SECONDS = 60
PORT = web.AppKey("port", int)
CLOSES = web.AppKey("closes", list)
PIECE = bytes(range(256)) * 256  # 64 KiB
HUB_COOKIES = {
    "jupyterhub-session-id": "SECRET1",
    "jupyterhub-user-mia": "SECRET2",
    "jupyter-hub-token": "SECRET3",
    "_xsrf": "SECRET4",
    "service-vessl": "SECRET5",
}
ALLOWED_SITE = "https://good.example"
GROWTH_BYTES_MAX = 64 << 20
"""How much more memory a server may use after gigabytes have passed through it."""

_OFF = ("jupyterlab", "jupyter_lsp", "jupyter_server_terminals", "notebook", "notebook_shim", "jupyterhub_vessl_lab")


def _jupyter_server_extension_points():
    return [{"module": __name__}]


def _load_jupyter_server_extension(serverapp):
    from jupyterhub_vessl_lab.proxy import add_proxy

    serverapp.log.info("hardened routes: %s", add_proxy(serverapp))


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class JupyterServer:
    """A Jupyter server with the library's extension on or off and ours before it, after it, or absent.

    It answers once `ready` has returned, so that several can start at once.
    """

    def __init__(self, folder: Path, *, ours: str = "after", library: bool = True, config: str = "") -> None:
        self.port = free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        self.base = self.root + BASE
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        name = {"after": "proxy_parts", "before": "aaa_proxy_parts", "": ""}[ours]
        if ours == "before":
            (folder / "aaa_proxy_parts.py").write_text(
                "from proxy_parts import _load_jupyter_server_extension\n"
                "def _jupyter_server_extension_points():\n    return [{'module': __name__}]\n"
            )
        extensions = dict.fromkeys(_OFF, False) | {"jupyter_server_proxy": library} | ({name: True} if name else {})
        (folder / "jupyter_server_config.py").write_text(
            f"c.ServerApp.jpserver_extensions = {extensions!r}\n"
            f"c.ServerApp.base_url = {BASE!r}\nc.IdentityProvider.token = {TOKEN!r}\n"
            f"c.ServerApp.port = {self.port}\nc.ServerApp.port_retries = 0\nc.ServerApp.open_browser = False\n"
            f"c.ServerApp.allow_root = True\nc.ServerApp.root_dir = {str(folder)!r}\n{config}\n"
        )
        self.log = folder / "jupyter.log"
        env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "VESSL"))}
        env |= {
            "JUPYTER_CONFIG_DIR": str(folder),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "run"),
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join([str(folder), str(HERE), str(LAB), env.get("PYTHONPATH", "")]),
            "JUPYTERHUB_API_TOKEN": "hubtokenhubtokenhubtokenhubtoken",
        }
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyter_server"], env=env, cwd=folder, stdout=out, stderr=out
            )

    def ready(self) -> JupyterServer:
        """Wait until it answers."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.base + "api", timeout=5):
                return self
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(self.log.read_text()[-4000:])

    def memory_bytes(self) -> int:
        """Resident memory of the server's process."""
        return psutil.Process(self.process.pid).memory_info().rss

    def open_sockets(self) -> int:
        """Established TCP connections of the server's process."""
        return sum(c.status == psutil.CONN_ESTABLISHED for c in psutil.Process(self.process.pid).net_connections("tcp"))

    def end(self) -> None:
        """Tell the process to end, and do not wait for it."""
        self.process.terminate()

    def stop(self) -> None:
        """End the process."""
        self.end()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


def stop_all(servers: Iterable[JupyterServer]) -> None:
    """End them together."""
    servers = list(servers)
    for server in servers:
        server.end()
    for server in servers:
        server.stop()


@contextlib.asynccontextmanager
async def signed_in(server: JupyterServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that is signed in by cookie, as a browser is."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), auto_decompress=False) as session:
        async with session.get(f"{server.base}api/status?token={TOKEN}") as response:
            assert response.status == 200
        yield session


async def _echo(request: web.Request) -> web.StreamResponse:
    """Say everything that arrived, as JSON."""
    body = await request.read()
    return web.json_response(
        {
            "method": request.method,
            "target": request.raw_path,
            "headers": [[n.decode("latin-1").lower(), v.decode("latin-1")] for n, v in request.raw_headers],
            "body": body.decode("latin-1"),
        }
    )


async def _big(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    if "length" in request.query:
        response.content_length = int(request.query["pieces"]) * len(PIECE)
    await response.prepare(request)
    for _ in range(int(request.query["pieces"])):
        await response.write(PIECE)
    return response


async def _swallow(request: web.Request) -> web.StreamResponse:
    seen, size = hashlib.sha256(), 0
    async for chunk in request.content.iter_any():
        seen.update(chunk)
        size += len(chunk)
    return web.json_response({"sha256": seen.hexdigest(), "size_bytes": size})


async def _answer(request: web.Request) -> web.StreamResponse:
    """Answer with the status and the headers that the query asks for."""
    headers = [tuple(pair.split("|", 1)) for pair in request.query.getall("h", [])]
    response = web.Response(status=int(request.query.get("status", 200)), text="" if "empty" in request.query else "ok")
    for name, value in headers:
        response.headers.add(name, value)
    return response


async def _socket(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse(protocols=("second",), max_msg_size=64 << 20, autoping=False)
    await ws.prepare(request)
    async for message in ws:
        if message.type == WSMsgType.PING:
            await ws.pong(message.data)
        elif message.type == WSMsgType.BINARY:
            await ws.send_bytes(message.data)
        elif message.data == "headers":
            await ws.send_json([[n.decode().lower(), v.decode("latin-1")] for n, v in request.raw_headers])
        elif message.data == "target":
            await ws.send_str(request.raw_path)
        elif message.data.startswith("close "):
            await ws.close(code=int(message.data.split()[1]), message=b"because")
        elif message.data.startswith("flood "):
            for _ in range(int(message.data.split()[1])):
                await ws.send_bytes(PIECE)
        elif message.type == WSMsgType.TEXT:
            await ws.send_str("you said " + message.data)
    request.app[CLOSES].append(ws.close_code)
    return ws


async def _forbidden_socket(request: web.Request) -> web.StreamResponse:
    return web.Response(status=403, text="secret reasons")


@contextlib.asynccontextmanager
async def web_app(*, unix_socket: str = "") -> AsyncIterator[web.Application]:
    """An app with echoes, streams and WebSockets; ``app[PORT]`` says where."""
    port = 0 if unix_socket else free_port()
    app = web.Application(client_max_size=1 << 30, handler_args={"max_field_size": 1 << 18, "max_line_size": 1 << 16})
    app[CLOSES], app[PORT] = [], port
    app.router.add_get("/ws", _socket)
    app.router.add_get("/ws-forbidden", _forbidden_socket)
    app.router.add_get(BASE + "proxy/absolute/{port}/ws", _socket)
    app.router.add_get("/big", _big)
    app.router.add_post("/swallow", _swallow)
    app.router.add_get("/answer", _answer)
    app.router.add_route("*", r"/{rest:[\s\S]*}", _echo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.UnixSite(runner, unix_socket) if unix_socket else web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield app
    finally:
        await runner.cleanup()


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw_app(answering: Answering) -> AsyncIterator[int]:
    """A server that reads one head and then does what `answering` says; yields its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answering(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(*pieces: bytes, pause_seconds: float = 0.02) -> Answering:
    """Write some bytes, piece by piece, and close."""

    async def answering(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_seconds)

    return answering
