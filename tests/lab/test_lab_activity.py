"""Behind the proxy that a hub has unless somebody chose another: looking at the panel is no activity."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from lab_parts import BASE_URL

PROXY = "configurable-http-proxy@^5"
TOKEN = "the-token-between-hub-and-proxy"


@pytest.fixture(scope="session")
def proxy_program(pytestconfig):
    """Installed from npm once; without npm a clear skip, and a failure in CI."""
    folder = Path(pytestconfig.cache.mkdir("hub-proxy"))
    program = folder / "node_modules/.bin/configurable-http-proxy"
    if not program.exists():
        npm = shutil.which("npm")
        why = "npm is not installed: apt-get install npm"
        if npm is not None:
            command = [npm, "install", "--no-audit", "--no-fund", "--no-save", "--prefix", str(folder), PROXY]
            done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
            why = f"{PROXY} could not be installed from npm: {done.stderr[-300:]}"
        if not program.exists():
            if os.environ.get("CI"):
                pytest.fail(why)
            pytest.skip(why)
    return program


class HubProxy:
    """The proxy with one route to a notebook server, as a hub sets it."""

    def __init__(self, program: Path, target: str) -> None:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            self.port, self.api_port = first.getsockname()[1], second.getsockname()[1]
        self.process = subprocess.Popen(
            [
                str(program),
                *("--ip", "127.0.0.1", "--port", str(self.port)),
                *("--api-ip", "127.0.0.1", "--api-port", str(self.api_port)),
            ],
            env={**os.environ, "CONFIGPROXY_AUTH_TOKEN": TOKEN},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(400):
            with contextlib.suppress(OSError):
                self._api("POST", f"routes{BASE_URL.rstrip('/')}", {"target": target})
                return
            time.sleep(0.05)
        raise AssertionError("the proxy did not start")

    def _api(self, method: str, path: str, body: object = None) -> object:
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.api_port}/api/{path}"
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def last_activity(self) -> str:
        (route,) = self._api("GET", "routes").values()
        return str(route["last_activity"])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def test_nothing_that_the_panel_asks_is_activity_for_the_hub(proxy_program, notebook):
    proxy = HubProxy(proxy_program, f"http://127.0.0.1:{notebook.port}")
    try:
        notebook.ask("GET", "api/status", port=proxy.port)
        before = proxy.last_activity()
        time.sleep(0.05)
        choice = urllib.parse.quote(json.dumps({"type": "http", "port": 3456, "path": "stripped"}))
        for method, path in (
            ("GET", "vessl/api/status"),
            ("GET", "vessl/api/status?fresh=1"),
            ("PUT", f"vessl/api/ports/app?choice={choice}"),
            ("DELETE", "vessl/api/ports/app"),
            ("POST", "vessl/api/pause"),
        ):
            assert notebook.ask(method, path, port=proxy.port).status == 300, path
        assert proxy.last_activity() == before
        notebook.ask("GET", "api/contents", port=proxy.port)
        assert proxy.last_activity() > before, "the proxy does tell activity"
    finally:
        proxy.stop()
