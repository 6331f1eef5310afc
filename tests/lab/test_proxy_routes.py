"""The hardened handlers take the library's place in every order of loading, with its named servers."""

from __future__ import annotations

import sys

import aiohttp
import pytest
from proxy_parts import BASE, PORT, TOKEN, JupyterServer, signed_in, stop_all, web_app

ORDERS = [("after", True), ("after", False), ("before", True), ("before", False)]

STARTED = """
import http.server, os, sys
open("starts", "a").write("x")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = repr((self.path, self.headers.items())).encode()
        self.send_response(200)
        self.send_header("Set-Cookie", "jupyterhub-session-id=evil")
        self.send_header("Set-Cookie", "a=1; Path=/")
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def ordered(tmp_path_factory):
    """A server for each order, with a named server that it starts itself."""
    servers = {}
    for ours, library in ORDERS:
        folder = tmp_path_factory.mktemp(f"{ours}-{library}")
        (folder / "started.py").write_text(STARTED)
        command = [sys.executable, str(folder / "started.py"), "{port}"]
        config = (
            f"c.ServerProxy.servers = {{'mine': {{'command': {command!r}, 'timeout': 20}}, "
            "'missing': {'command': ['/no/such/program', '{port}']}}"
        )
        servers[ours, library] = JupyterServer(folder, ours=ours, library=library, config=config)
    yield servers
    stop_all(servers.values())


@pytest.mark.parametrize("order", ORDERS)
async def test_every_order_of_loading_gives_hardened_routes_and_one_process_a_server(ordered, client, order):
    server = ordered[order].ready()
    cookies = {"Cookie": "jupyterhub-session-id=SECRET; app=mine"}
    for _ in range(2):
        async with client.get(f"{server.base}mine/x%2fy", headers=cookies) as got:
            text = await got.text()
            assert got.status == 200
            assert "'app=mine'" in text
            assert TOKEN not in text
            assert "SECRET" not in text
            assert [c for c in got.headers.getall("Set-Cookie") if not c.startswith("username-")] == [
                f"a=1; Path={BASE}mine"
            ]
    assert (server.folder / "starts").read_text() == "x"
    async with client.get(f"{server.base}proxy/9/") as got:
        assert got.status == 503
    async with client.get(f"{server.base}missing/") as got:
        assert got.status == 500
        assert await got.text() == "The app could not be reached. The log of the Jupyter server says more.\n"
    async with client.get(f"{server.base}server-proxy/servers-info") as got:
        assert "mine" in await got.text()


REWRITE = """
def shout(response):
    response.body = response.body.upper()
    response.headers["Set-Cookie"] = "jupyterhub-session-id=evil"
"""


async def test_named_servers_keep_their_options(tmp_path, client):
    path = str(tmp_path / "app.sock")
    async with web_app() as app, web_app(unix_socket=path):
        config = REWRITE + (
            f"c.ServerProxy.servers = {{'sock': {{'unix_socket': {path!r}}},"
            f"'whole': {{'port': {app[PORT]}, 'absolute_url': True}},"
            f"'mapped': {{'port': {app[PORT]}, 'mappath': {{'/': '/a b\\u00e9'}},"
            "'request_headers_override': {'Authorization': 'Basic operator'}},"
            f"'loud': {{'port': {app[PORT]}, 'rewrite_response': shout}}}}\n"
            "c.VesslLab.refuse_other_sites = False"
        )
        server = JupyterServer(tmp_path, config=config).ready()
        try:
            for url, target in [("sock/x%2Fy", "/x%2Fy"), ("whole/x", f"{BASE}whole/x"), ("mapped/", "/a%20b%C3%A9")]:
                async with client.get(server.base + url) as got:
                    echo = await got.json()
                    assert echo["target"] == target
                    authorization = [value for name, value in echo["headers"] if name == "authorization"]
                    assert authorization == (["Basic operator"] if "mapped" in url else [])
            async with client.ws_connect(f"{server.base}sock/ws") as ws:
                await ws.send_str("hi")
                assert await ws.receive_str() == "you said hi"
            async with client.get(f"{server.base}loud/answer") as got:
                assert await got.text() == "OK"
                assert "evil" not in str(got.headers)
            foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
            async with signed_in(server) as session:
                async with session.post(f"{server.base}whole/x", data=b"x", headers=foreign) as got:
                    assert got.status == 200, "this operator refuses nothing that other websites send"
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await session.ws_connect(f"{server.base}sock/ws", origin=foreign["Origin"])
        finally:
            server.stop()
