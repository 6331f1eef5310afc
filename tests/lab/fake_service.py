"""A stand-in for the service over real HTTP: one workspace, its ports, and every way to go wrong."""

from __future__ import annotations

import gzip
import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORKSPACE_ID = uuid.uuid4().hex  # of its own for each run: processes of several runs may be on one machine
HUB_TOKEN = "the-hub-token-of-this-server"


NOW_MS = 1_800_000_000_000


def status_of(ports: dict[str, dict[str, Any]], mounts: list[dict[str, Any]], at_ms: int = NOW_MS) -> dict[str, Any]:
    """A `StatusView` as JSON."""
    return {
        "workspace": {
            "id": WORKSPACE_ID,
            "user": "mia",
            "server_name": "x",
            "title": "Mia's",
            "organization": "acme",
            "team": "vision",
            "currency": "$",
            "cluster": "lab",
            "cluster_title": "Lab",
            "spec": "cpu-small",
            "spec_title": "Small",
            "image_title": "SciPy",
            "state": "running",
            "since_ms": 1,
            "created_ms": 1,
            "rate_micros_per_hour": 2_390_000,
            "spent_micros": 7,
            "mounts": mounts,
        },
        "spec": {
            "name": "cpu-small",
            "title": "Small",
            "cpu_millis": 4000,
            "memory_bytes": 8 << 30,
            "temporary_bytes": 0,
        },
        "team_title": "Vision",
        "credits": {
            "title": "Acme",
            "currency": "$",
            "contact": "",
            "balance_micros": 41_200_000,
            "rate_micros_per_hour": 2_390_000,
        },
        "ports": [{"name": name, **port} for name, port in ports.items()],
        "pages_url": "/services/vessl/",
        "at_ms": at_ms,
    }


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *args: object) -> None:
        """Whoever hangs up in the middle is what the tests are about."""


class FakeService:
    """Answers ``/services/vessl/api/v1/``; ``trouble`` names what goes wrong."""

    def __init__(self) -> None:
        self.trouble = ""
        self.ports: dict[str, dict[str, Any]] = {}
        self.mounts: list[dict[str, Any]] = []
        self.at_ms = NOW_MS
        self.asked: list[tuple[str, str, str]] = []
        self.paused = 0
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                outer.handle(self)

            do_POST = do_PUT = do_DELETE = do_GET

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/services/vessl/"
        threading.Thread(target=self._server.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.asked.append((request.command, request.path, request.headers.get("Authorization", "")))
        if self.trouble:
            getattr(self, "_" + self.trouble.replace("-", "_"), self._status)(request)
            return
        base = f"/services/vessl/api/v1/workspaces/{WORKSPACE_ID}/"
        what = request.path.removeprefix(base)
        if request.headers.get("Authorization") != f"token {HUB_TOKEN}" or what == request.path:
            self.refuse(request, 404, "not_found", "There is no such workspace.")
        elif request.command == "POST" and what == "pause":
            self.paused += 1
            self.send(request, 200, status_of(self.ports, self.mounts, self.at_ms)["workspace"])
        elif what.startswith("ports/"):
            self._port(request, what.removeprefix("ports/"), body)
        else:
            self.send(request, 200, status_of(self.ports, self.mounts, self.at_ms))

    def _port(self, request: BaseHTTPRequestHandler, name: str, body: bytes) -> None:
        if request.command == "PUT":
            port = json.loads(body)
            if any(p["port"] == port["port"] for n, p in self.ports.items() if n != name):
                self.refuse(request, 409, "port_taken", f"Port {port['port']} is declared already.", field="port")
                return
            self.ports[name] = port
        elif self.ports.pop(name, None) is None:
            self.refuse(request, 404, "not_found", "There is no such port.")
            return
        self.send(request, 200, status_of(self.ports, self.mounts, self.at_ms))

    def refuse(self, request: BaseHTTPRequestHandler, status: int, code: str, message: str, field: str = "") -> None:
        self.send(request, status, {"code": code, "message": message, "hint": "", "field": field})

    def send(self, request: BaseHTTPRequestHandler, status: int, body: object, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    # -- troubles ---------------------------------------------------------------

    def _status(self, request: BaseHTTPRequestHandler) -> None:
        self.send(request, int(self.trouble), {"secret": HUB_TOKEN, "node": "gpu-17"})

    def _hang(self, request: BaseHTTPRequestHandler) -> None:
        self.release.wait(30)

    def _slow(self, request: BaseHTTPRequestHandler) -> None:
        answer = status_of(self.ports, self.mounts, self.at_ms)
        self.release.wait(30)
        self.send(request, 200, answer)

    def _half(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b'{"workspace":')
        request.wfile.flush()
        self.release.wait(30)

    def _rubbish(self, request: BaseHTTPRequestHandler) -> None:
        self.send(request, 200, b"\xff\xfe{]" + HUB_TOKEN.encode())

    def _other_json(self, request: BaseHTTPRequestHandler) -> None:
        self.send(request, 200, {"workspace": HUB_TOKEN})

    def _deep_json(self, request: BaseHTTPRequestHandler) -> None:
        self.send(request, 200, b"[" * 200_000)

    def _html(self, request: BaseHTTPRequestHandler) -> None:
        self.send(request, 200, b"<h1>gpu-17 Traceback</h1>", "text/html")

    def _redirect(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", self.url + "elsewhere?token=" + HUB_TOKEN)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _huge(self, request: BaseHTTPRequestHandler) -> None:
        self.send(request, 200, b'"' + b"x" * 10_000_000 + b'"')

    def _packed(self, request: BaseHTTPRequestHandler) -> None:
        data = gzip.compress(b'"' + b"x" * 20_000_000 + b'"', 1)
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _headers(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        for number in range(50_000):
            request.send_header(f"X-{number}", "x" * 200)
        request.end_headers()
