"""A real service in this process: real database, real HTTP, real hub authentication; only the hub is a stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web
from jupyterhub.services.auth import HubOAuth
from page_parts import Page
from people_parts import GROUPS
from tornado import httpserver, netutil

from jupyterhub_vessl.ledger.database import Database
from jupyterhub_vessl.ledger.records import open_admissions
from jupyterhub_vessl.model.local_layout import process_file
from jupyterhub_vessl.model.reconcile import HubServer
from jupyterhub_vessl.offer import parse_offer
from jupyterhub_vessl.service.app import HubEnvironment, application, assemble
from jupyterhub_vessl.service.carrier import Carrier
from jupyterhub_vessl.service.declared import follow_declared
from jupyterhub_vessl.service.enforcer import Enforcer
from jupyterhub_vessl.service.openings import record_openings
from jupyterhub_vessl.service.parts import Parts
from jupyterhub_vessl.service.reconciler import Reconciler

OFFER = Path(__file__).parents[2] / "jupyterhub_vessl/demo/vessl.yaml"
PREFIX = "/services/vessl/"


@dataclass
class StandInHub:
    """The few things of the hub's REST API that the service uses, and a record of what it was asked."""

    servers: dict[tuple[str, str], HubServer] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    down: bool = False
    version: str = "6.1.1"
    bodies: list[Any] = field(default_factory=list)
    refusal: tuple[int, str] | None = None
    on_stop: Any = None
    url: str = ""

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/hub/api/", self._version)
        app.router.add_get("/hub/api/user", self._user)
        app.router.add_get("/hub/api/users", self._users)
        app.router.add_route("*", "/hub/api/users/{user}/{tail:.*}", self._server)
        return app

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": self.version})

    async def _user(self, request: web.Request) -> web.Response:
        name = request.headers.get("Authorization", "").removeprefix("token ")
        if self.down:
            return web.json_response({}, status=503)
        if name == "spawner":
            return web.json_response({"kind": "service", "name": "vessl-spawner", "scopes": []})
        if name == "other-service":
            return web.json_response({"kind": "service", "name": "culler", "scopes": []})
        if name.startswith("notebook-"):
            user = name.removeprefix("notebook-")
            scopes = [f"access:servers!server={user}/"]
            return web.json_response({"kind": "user", "name": user, "groups": GROUPS[user], "scopes": scopes})
        if name.startswith("workspace-"):  # the token of a person's default server
            user = name.removeprefix("workspace-")
            scopes = [f"access:servers!server={user}/", f"custom:vessl:workspace!server={user}/"]
            return web.json_response({"kind": "user", "name": user, "groups": GROUPS[user], "scopes": scopes})
        if name not in GROUPS:
            return web.json_response({"message": "no"}, status=403)
        scopes = ["access:services!service=vessl"]
        return web.json_response({"kind": "user", "name": name, "groups": GROUPS[name], "scopes": scopes})

    async def _users(self, request: web.Request) -> web.Response:
        if self.down:
            return web.json_response({}, status=503)
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        found = sorted(self.servers.values(), key=lambda s: s.key)
        page = [{"name": s.user, "servers": {s.server_name: {"ready": s.ready}}} for s in found[offset:][:limit]]
        following = {"offset": offset + limit} if offset + limit < len(found) else None
        return web.json_response({"items": page, "_pagination": {"next": following}})

    async def _server(self, request: web.Request) -> web.Response:
        user, tail = request.match_info["user"], request.match_info["tail"]
        name = tail.removeprefix("servers/") if tail != "server" else ""
        self.calls.append((request.method, f"{user}/{name}"))
        if self.down:
            return web.json_response({}, status=503)
        if request.method == "DELETE":
            if (user, name) not in self.servers:
                return web.json_response({"message": "not running"}, status=404)
            if self.on_stop:
                await self.on_stop(user, name)
            self.servers.pop((user, name), None)
            return web.Response(status=204)
        self.bodies.append(await request.json())
        if self.refusal:
            return web.json_response({"message": self.refusal[1]}, status=self.refusal[0])
        return web.Response(status=202)


@dataclass
class Service:
    """The running service and ways to call it."""

    parts: Parts
    hub: StandInHub
    url: str
    session: aiohttp.ClientSession

    async def call(self, verb: str, path: str, who: str = "", body: Any = None, **options: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"token {who}"} if who else {}
        data = json.dumps(body) if body is not None else None
        async with self.session.request(verb, f"{self.url}api/v1/{path}", headers=headers, data=data, **options) as r:
            return r.status, await r.json()

    async def admit(self, user: str = "mia", server_name: str = "", key: str = "", **options: Any) -> tuple[int, Any]:
        self.keys = getattr(self, "keys", 0) + 1
        body = {
            "user": user,
            "groups": GROUPS[user],
            "server_name": server_name,
            "options": options,
            "key": key or f"key-{self.keys:06d}",
        }
        return await self.call("POST", "admissions", "spawner", body)

    async def run(self, user: str = "mia", server_name: str = "", **options: Any) -> tuple[str, str]:
        """Admit, report ready, and let the hub list it; returns (admission id, workspace id)."""
        options = {"team": "speech" if user in ("tom", "vic") else "vision", "spec": "cpu-small"} | options
        status, admission = await self.admit(user, server_name, **options)
        assert status == 201, admission
        status, _ = await self.call("POST", f"admissions/{admission['admission_id']}/ready", "spawner", {})
        assert status == 200
        self.hub.servers[user, server_name] = HubServer(user, server_name, True)
        return admission["admission_id"], admission["plan"]["workspace_id"]

    async def ended(self, admission_id: str, **body: Any) -> tuple[int, Any]:
        return await self.call("POST", f"admissions/{admission_id}/ended", "spawner", {"reason": "user"} | body)

    async def balance_micros(self) -> int:
        status, view = await self.call("GET", "organizations/acme/balance", "ada")
        assert status == 200
        return view["balance_micros"]


class SteppingClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms


@pytest.fixture
def clock():
    return SteppingClock()


@pytest.fixture
async def hub():
    stand_in = StandInHub()
    runner = web.AppRunner(stand_in.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    stand_in.url = f"http://127.0.0.1:{port}/hub/api"
    yield stand_in
    await runner.cleanup()


@pytest.fixture
def offer(request):
    """The demo's offer; a test that is marked gets it with another text in one place."""
    text = OFFER.read_text()
    for marker in request.node.iter_markers("offer"):
        old, new = marker.args
        assert old in text
        text = text.replace(old, new)
    return parse_offer(text)


@pytest.fixture
async def service(hub, offer, clock, tmp_path, monkeypatch, database_url):
    """The service without its loops: tests take each step themselves, at the instant of the stepping clock."""
    monkeypatch.setenv("JUPYTERHUB_API_URL", hub.url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "service-token")
    monkeypatch.setenv("JUPYTERHUB_CLIENT_ID", "service-vessl")
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", PREFIX)
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("JUPYTERHUB_OAUTH_ACCESS_SCOPES", '["access:services!service=vessl", "access:services"]')
    HubOAuth.clear_instance()
    environment = HubEnvironment.read()
    parts = assemble(offer, Database(database_url), environment, tmp_path / "data")
    parts.core.clock = clock
    await parts.core.database.run(lambda c: record_openings(c, offer, clock.now_ms()))
    # in the registry, and not billed: most tests count other money
    await parts.core.database.run(lambda c: follow_declared(c, offer, clock.now_ms()))
    server = httpserver.HTTPServer(application(parts, environment), max_body_size=1024 * 1024)
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    async with aiohttp.ClientSession() as session:
        yield Service(parts, hub, f"http://127.0.0.1:{sockets[0].getsockname()[1]}{PREFIX}", session)
    server.stop()
    await server.close_all_connections()
    await parts.core.hub.close()
    parts.core.database.close()
    HubOAuth.clear_instance()
    await asyncio.sleep(0)


@pytest.fixture
def browse(service):
    """GET or POST a page with a token; ``form`` makes it a POST.  Redirects are not followed."""

    async def call(path: str, who: str = "mia", *, form: dict[str, str] | None = None, **headers: str) -> Page:
        if who:
            headers["Authorization"] = f"token {who}"
        verb = "GET" if form is None else "POST"
        async with service.session.request(
            verb, service.url + path, headers=headers, data=form, allow_redirects=False
        ) as answer:
            return Page(answer.status, dict(answer.headers), await answer.text())

    return call


@pytest.fixture
def report_ends(service):
    """The spawner's side: when the hub stops a server, its end is reported."""

    async def on_stop(user, server_name):
        for record in await service.parts.core.database.run(open_admissions):
            if (record.plan.user, record.plan.server_name) == (user, server_name):
                await service.ended(record.id)

    service.hub.on_stop = on_stop


@pytest.fixture
def carrier(service):
    return Carrier(service.parts.core)


@pytest.fixture
def enforcer(service):
    return Enforcer(service.parts.core)


@pytest.fixture
def reconciler(service):
    return Reconciler(service.parts.core, service.parts.admissions)


@pytest.fixture
def run_process(service):
    """A real process on this machine, recorded as a workspace's as the spawner records it."""
    started = []

    def run(workspace_id):
        process = psutil.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        started.append(process)
        file = service.parts.core.clusters._adapters["laptop"]._data / process_file(workspace_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"pid": process.pid, "created": process.create_time()}))
        return process

    yield run
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        process.wait()
