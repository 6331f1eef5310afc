"""A hub without a proxy in this process, a stand-in for the service, and plans to start."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from jupyterhub.proxy import Proxy
from jupyterhub.tests.utils import auth_header
from jupyterhub_vessl_spawner.isolation import Isolation
from yarl import URL

from jupyterhub_vessl.model.catalog import ClusterKind
from jupyterhub_vessl.model.errors import PublicError
from jupyterhub_vessl.model.plan import Mount, MountKind, PlannedSpec, WorkspacePlan
from jupyterhub_vessl.model.wire import Admission, AdmissionRequest, EndedReport, ErrorBody, ReadyReport, Recorded

TOKEN = "the-spawners-own-token"
MIB = 1 << 20
SMALL_SERVER = [sys.executable, "-m", "jupyterhub.tests.mocksu"]


def make_plan(workspace_id: str = "w1", **changes: Any) -> WorkspacePlan:
    """A plan with a home and temporary storage; ``changes`` replace its fields."""
    fields: dict[str, Any] = {
        "workspace_id": workspace_id,
        "user": "alice",
        "server_name": "",
        "title": "Notebook",
        "organization": "acme",
        "team": "vision",
        "currency": "USD",
        "cluster": "laptop",
        "cluster_kind": ClusterKind.LOCAL,
        "spec": PlannedSpec(
            name="small", title="Small", cpu_millis=1000, memory_bytes=512 * MIB, temporary_bytes=16 * MIB
        ),
        "image": "laptop",
        "image_title": "This machine",
        "mounts": (
            Mount(kind=MountKind.WORKSPACE, mount_path="/home/jovyan", size_bytes=1 << 30),
            Mount(kind=MountKind.TEMPORARY, mount_path="/scratch", size_bytes=16 * MIB),
        ),
        "rate_micros_per_hour": 50_000,
        "stop_grace_seconds": 3,
    }
    return WorkspacePlan(**{**fields, **changes})


@dataclass
class StandInService:
    """Answers like the service and remembers what it was told.

    ``refusal`` refuses admissions, ``ended_refusal`` reports of an end; ``slow_seconds`` delays every answer;
    `down` and `up` close and open the port.
    """

    plan: WorkspacePlan = field(default_factory=make_plan)
    refusal: PublicError | None = None
    ended_refusal: PublicError | None = None
    slow_seconds: float = 0
    calls: list[str] = field(default_factory=list)
    asked: list[AdmissionRequest] = field(default_factory=list)
    ready: list[ReadyReport] = field(default_factory=list)
    ended: list[tuple[str, EndedReport]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/vessl/"

    async def up(self) -> None:
        prefix = "/services/vessl/api/v1/admissions"
        app = web.Application()
        app.router.add_post(prefix, self._admit)
        app.router.add_post(prefix + "/{id}/ready", self._ready)
        app.router.add_post(prefix + "/{id}/ended", self._ended)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def down(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _begin(self, request: web.Request, call: str) -> Any:
        self.calls.append(call)
        self.tokens.add(request.headers.get("Authorization", ""))
        await asyncio.sleep(self.slow_seconds)
        return await request.json()

    async def _admit(self, request: web.Request) -> web.Response:
        self.asked.append(AdmissionRequest.model_validate(await self._begin(request, "admit")))
        if self.refusal is not None:
            return _refuse(self.refusal)
        admission = Admission(admission_id=f"admission-{len(self.asked)}", plan=self.plan)
        return web.json_response(admission.model_dump(mode="json"))

    async def _ready(self, request: web.Request) -> web.Response:
        self.ready.append(ReadyReport.model_validate(await self._begin(request, "ready")))
        return web.json_response(Recorded(at_ms=1).model_dump())

    async def _ended(self, request: web.Request) -> web.Response:
        report = EndedReport.model_validate(await self._begin(request, "ended"))
        if self.ended_refusal is not None:
            return _refuse(self.ended_refusal)
        self.ended.append((request.match_info["id"], report))
        return web.json_response(Recorded(at_ms=2).model_dump())


def _refuse(error: PublicError) -> web.Response:
    body = ErrorBody(code=error.code, message=error.message, hint=error.hint, field=error.field)
    return web.json_response(body.model_dump(), status=error.status)


class NullProxy(Proxy):
    """Routes in a dictionary: the tests speak to the hub and to workspaces directly."""

    should_start = False
    routes: dict[str, dict[str, Any]]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.routes = {}

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        self.routes[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec: str) -> None:
        self.routes.pop(routespec, None)

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        return self.routes


@dataclass(frozen=True)
class Answer:
    """What the hub answered."""

    status_code: int
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class TestHub:
    """A running hub with the local spawner; ``alice`` and ``admin`` exist."""

    __test__ = False
    app: Any

    async def request(self, *path: str, method: str = "get", json: Any = None) -> Answer:
        """Ask the hub as ``admin``; unlike `jupyterhub.tests.utils.api_request` several can be on their way."""
        url = "/".join([self.app.hub.url.rstrip("/"), "api", *path])
        headers = auth_header(self.app.db, "admin")
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, URL(url, encoded=True), json=json) as response,
        ):
            return Answer(response.status, await response.text())

    async def start(self, options: dict[str, Any] | None = None, user: str = "alice") -> Any:
        return await self.request("users", user, "server", method="post", json=options or {})

    async def stop(self, user: str = "alice") -> Any:
        return await self.request("users", user, "server", method="delete")

    def spawner(self, user: str = "alice") -> Any:
        return self.app.users[user].spawners[""]

    def alice(self) -> Any:
        return self.app.users["alice"]


def hub_config(service: StandInService, folder: Path) -> dict[str, Any]:
    """A hub with the local spawner and no proxy, which keeps its files in ``folder``."""
    return {
        "JupyterHub": {
            "proxy_class": NullProxy,
            "cookie_secret_file": str(folder / "cookie_secret"),
            "spawner_class": "vessl-local",
            "bind_url": "http://127.0.0.1:0/",
            "tornado_settings": {"slow_spawn_timeout": 60, "slow_stop_timeout": 60},
            "last_activity_interval": 3600,
        },
        "VesslLocalSpawner": {
            "service_url": service.url,
            "service_token": TOKEN,
            "data_dir": str(folder / "data"),
            "cmd": SMALL_SERVER,
            "poll_interval": 3600,
            "service_timeout_seconds": 2,
            "ready_timeout_seconds": 20,
        },
    }


def need(level: Isolation, there: bool, why: str) -> Isolation:
    if not there and os.environ.get("CI") == "true":
        pytest.fail(why)
    if not there:
        pytest.skip(why)
    return level


async def eventually(condition: Callable[[], Any] | Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
    """What ``condition`` gives as soon as it is true; fails after a time that only a broken program needs."""
    for _ in range(int(seconds / 0.05)):
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen")
