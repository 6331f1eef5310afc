"""A hub whose workspaces are pods of a stand-in cluster, and a server that answers at the address of every pod."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from hub_parts import TOKEN, NullProxy, StandInService, TestHub, make_plan
from jupyterhub import orm
from jupyterhub.tests.utils import add_user
from jupyterhub_vessl_spawner import kubernetes_objects
from jupyterhub_vessl_spawner.kubernetes import VesslKubernetesSpawner
from jupyterhub_vessl_spawner.kubernetes_clusters import CLUSTERS
from jupyterhub_vessl_spawner.refusal import VesslSpawnRefused
from kubernetes_parts import StandIn, write_kubeconfig

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.catalog import ClusterKind
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.plan import KubernetesPlan, Mount, MountKind, PlannedSpec, WorkspacePlan
from jupyterhub_vessl.model.wire import NoticeReport, Recorded
from jupyterhub_vessl.model.wire_status import AddressReport

CONTEXT = "stand-in"
API_TOKEN = "t0ken"
WORKSPACE_ID = "0123456789abcdef0123456789abcdef"
GIB = 1 << 30


def kubernetes_plan(workspace_id: str = WORKSPACE_ID, **changes: Any) -> WorkspacePlan:
    """A small pod on the stand-in; ``changes`` replace fields of the plan."""
    fields: dict[str, Any] = {
        "cluster": "seoul",
        "cluster_kind": ClusterKind.KUBERNETES,
        "image": "pytorch",
        "image_title": "PyTorch 2.8",
        "image_url": "quay.io/example/pytorch:2.8",
        "kubernetes": KubernetesPlan(context=CONTEXT, namespace="default"),
        "stop_grace_seconds": 1,
    }
    return make_plan(workspace_id, **{**fields, **changes})


def gpu_spec(count: int = 8, **changes: Any) -> PlannedSpec:
    """A resource spec with GPUs."""
    fields: dict[str, Any] = {"name": "h100", "title": "H100", "gpu_type": "H100", "gpu_count": count}
    fields |= {"cpu_millis": 4000, "memory_bytes": 16 * GIB, "temporary_bytes": GIB}
    return PlannedSpec(**{**fields, **changes})


def with_claim(claim: str) -> tuple[Mount, ...]:
    """The mounts of a small plan, and a volume of the cluster backed by ``claim``."""
    shared = Mount(kind=MountKind.CLUSTER, mount_path="/data", size_bytes=GIB, volume="data", claim=claim)
    return (*kubernetes_plan().mounts, shared)


@dataclass
class TellingService(StandInService):
    """The stand-in service, which also takes notices and addresses.  ``notice_failures`` notices fail first."""

    plan: WorkspacePlan = field(default_factory=kubernetes_plan)
    notices: list[tuple[str, NoticeReport]] = field(default_factory=list)
    notice_failures: int = 0
    told: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    async def up(self) -> None:
        prefix = "/services/vessl/api/v1/admissions"
        app = web.Application()
        app.router.add_post(prefix, self._admit)
        app.router.add_post(prefix + "/{id}/ready", self._ready)
        app.router.add_post(prefix + "/{id}/ended", self._ended)
        app.router.add_post(prefix + "/{id}/notice", self._notice)
        app.router.add_post(prefix + "/{id}/addresses", self._addresses)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def _notice(self, request: web.Request) -> web.Response:
        report = NoticeReport.model_validate(await self._begin(request, "notice"))
        if self.notice_failures:
            self.notice_failures -= 1
            return web.json_response({}, status=503)
        self.notices.append((request.match_info["id"], report))
        return web.json_response(Recorded(at_ms=3).model_dump())

    async def _addresses(self, request: web.Request) -> web.Response:
        report = AddressReport.model_validate(await self._begin(request, "addresses"))
        self.told.append((request.match_info["id"], dict(report.addresses)))
        return web.json_response(Recorded(at_ms=4).model_dump())


@asynccontextmanager
async def answering_pods() -> AsyncIterator[int]:
    """A server that answers whatever it is asked, at the address of every pod; yields its port."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response({"path": request.path})

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def kubernetes_hub_config(service: StandInService, folder: Path, kubeconfig: Path, port: int) -> dict[str, Any]:
    """A hub with the Kubernetes spawner and no proxy, impatient enough for tests."""
    return {
        "JupyterHub": {
            "proxy_class": NullProxy,
            "cookie_secret_file": str(folder / "cookie_secret"),
            "spawner_class": VesslKubernetesSpawner,
            "bind_url": "http://127.0.0.1:0/",
            "tornado_settings": {"slow_spawn_timeout": 60, "slow_stop_timeout": 60},
            "last_activity_interval": 3600,
        },
        "VesslKubernetesSpawner": {
            "service_url": service.url,
            "service_token": TOKEN,
            "service_timeout_seconds": 2,
            "kubeconfig": str(kubeconfig),
            "port": port,
            "poll_interval": 3600,
            "start_timeout": 40,
            "ready_timeout_seconds": 10,
            "unschedulable_grace_seconds": 0.3,
            "watch_retry_seconds_max": 0.3,
            "k8s_api_request_timeout": 3,
            "k8s_api_request_retry_timeout": 1,
        },
    }


@dataclass
class KubernetesHub(TestHub):
    """A hub, its service, and the cluster that it starts workspaces on; ``alice`` and ``admin`` exist."""

    __test__ = False
    service: TellingService = field(default_factory=TellingService)
    api: Any = None

    @property
    def pod(self) -> str:
        """The name of the pod of the service's plan."""
        return names.pod_name(self.service.plan)

    @property
    def home(self) -> str:
        """The name of its home claim."""
        return names.home_claim(self.service.plan.workspace_id)

    def left(self) -> list[str]:
        """The kinds of everything that is there of workspaces."""
        return left_of(self.api)

    def new_spawner(self, state: Mapping[str, Any]) -> VesslKubernetesSpawner:
        """The spawner as a hub that was just started has it."""
        before = self.spawner()
        after = VesslKubernetesSpawner(
            user=before.user, hub=before.hub, orm_spawner=before.orm_spawner, config=self.app.config, parent=None
        )
        after.load_state(dict(state))
        return after


@asynccontextmanager
async def running_kubernetes_hub(
    hub_app: Any, api: StandIn, folder: Path, *, contexts: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[KubernetesHub]:
    """A hub beside a stand-in.  ``settings`` are traits of the spawner; ``contexts`` URLs by kubeconfig context."""
    service = TellingService()
    await service.up()
    kubeconfig = write_kubeconfig(folder / "kubeconfig", contexts or {CONTEXT: api.url}, tokens={CONTEXT: API_TOKEN})
    async with answering_pods() as port:
        config = kubernetes_hub_config(service, folder, kubeconfig, port)
        config["VesslKubernetesSpawner"] |= settings
        app = await hub_app(config=config)
        add_user(app.db, app, name="admin", admin=True)
        add_user(app.db, app, name="alice")
        hub = KubernetesHub(app, service=service, api=api)
        try:
            yield hub
        finally:
            for user in app.users.values():
                for spawner in user.spawners.values():
                    spawner.stop_polling()
                    spawner._session, spawner._ended = None, True
            for task in list(kubernetes_objects._burials):
                task.cancel()
            await CLUSTERS.close()
            await service.down()


@dataclass
class LoneSpawner:
    """A spawner without a hub: real towards the service and the cluster, with plain values where the hub would be."""

    spawner: VesslKubernetesSpawner
    service: TellingService
    api: StandIn

    stopped: int = 0

    async def start(self) -> str:
        """Start it, and follow it as a hub does: what ends is stopped, and its state forgotten."""

        async def over() -> None:
            self.stopped += 1
            self.spawner.stop_polling()
            if await self.spawner.poll() is None:
                await self.spawner.stop()
            self.spawner.clear_state()

        url = await self.spawner.start()
        self.spawner.add_poll_callback(over)
        self.spawner.start_polling()
        return url

    @property
    def plan(self) -> WorkspacePlan:
        return self.service.plan

    @property
    def pod(self) -> str:
        """The name of the pod of the service's plan."""
        return names.pod_name(self.plan)

    def is_over(self) -> bool:
        """Whether the hub would know that the server is gone."""
        return bool(self.stopped and self.service.ended)

    def ends(self) -> list[tuple[EndReason, str]]:
        """What the service was told of ends."""
        return [(report.reason, report.detail) for _, report in self.service.ended]

    async def refused(self) -> str:
        """What the person reads when the start fails; everything that they saw until then comes before it."""
        seen: list[str] = []

        async def watch_progress() -> None:
            async for event in self.spawner.progress():
                assert set(event) == {"progress", "message"}
                seen.append(event["message"])

        watching = asyncio.create_task(watch_progress())
        try:
            with pytest.raises(VesslSpawnRefused) as refused:
                await self.spawner.start()
        finally:
            watching.cancel()
        assert refused.value.jupyterhub_message == str(refused.value.message)
        return "\n".join([*seen, refused.value.jupyterhub_message])

    def left(self) -> list[str]:
        """Everything that is there of workspaces, by kind."""
        return left_of(self.api)


def left_of(api: StandIn) -> list[str]:
    """The kinds of all objects of workspaces in a stand-in."""
    kinds = ("pods", "services", "persistentvolumeclaims", "secrets")
    return [kind for kind in kinds for thing in api.objects(kind, "default") if names.MANAGED in labels_of(thing)]


def labels_of(thing: Mapping[str, Any]) -> Mapping[str, str]:
    return thing["metadata"].get("labels") or {}


@cache
def empty_database() -> Any:
    """A session of a hub's database in memory in which there is nobody."""
    return orm.new_session_factory("sqlite:///:memory:")()


@asynccontextmanager
async def lone_spawner(api: StandIn, folder: Path, **settings: Any) -> AsyncIterator[LoneSpawner]:
    """A spawner without a hub; ``settings`` are its traits."""
    service = TellingService()
    await service.up()
    kubeconfig = write_kubeconfig(folder / "kubeconfig", {CONTEXT: api.url}, tokens={CONTEXT: API_TOKEN})
    user = SimpleNamespace(name="alice", id=1, url="/user/alice/", escaped_name="alice", groups=[], settings={})
    user.base_url, user.orm_user, user.db = "/user/alice/", SimpleNamespace(id=1), empty_database()
    hub = SimpleNamespace(public_host="", base_url="/hub/", api_url="http://127.0.0.1:8081/hub/api")
    async with answering_pods() as port:
        traits = kubernetes_hub_config(service, folder, kubeconfig, port)["VesslKubernetesSpawner"] | settings
        spawner = VesslKubernetesSpawner(user=user, hub=hub, orm_spawner=None, **traits)
        spawner._server = SimpleNamespace(base_url="/user/alice/", url="")
        spawner.api_token = "m4rker-token"
        try:
            yield LoneSpawner(spawner, service, api)
        finally:
            spawner.stop_polling()
            for task in list(kubernetes_objects._burials):
                task.cancel()
            await CLUSTERS.close()
            await service.down()
