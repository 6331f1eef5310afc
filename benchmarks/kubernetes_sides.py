"""What is measured of the Kubernetes spawner and of stock KubeSpawner, each in a process of its own.

Both sides get the same stand-in of the API, the same stand-ins for a hub and its user, and pods of the same size.
Every doubt is settled in favour of the peer: it watches no events, and of its start only what `KubeSpawner.start`
does is counted, while ours is counted with and without asking for admission, waiting for the server to answer and
reporting it ready.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.catalog import ClusterKind
from jupyterhub_vessl.model.plan import KubernetesPlan, Mount, MountKind, PlannedSpec, WorkspacePlan

GIB = 1 << 30
LAST = "last-0"
"""The pod that appears after all changes."""
SPEC = PlannedSpec(name="small", title="Small", cpu_millis=100, memory_bytes=GIB // 8, temporary_bytes=GIB)
MOUNTS = (
    Mount(kind=MountKind.WORKSPACE, mount_path="/home/jovyan", size_bytes=GIB),
    Mount(kind=MountKind.TEMPORARY, mount_path="/scratch", size_bytes=GIB),
)


def plan_for(number: int) -> WorkspacePlan:
    """A small workspace of user ``user-NUMBER``."""
    return WorkspacePlan(
        workspace_id=f"{number:032x}",
        user=f"user-{number}",
        server_name="",
        title="Notebook",
        organization="acme",
        team="vision",
        currency="USD",
        cluster="one",
        cluster_kind=ClusterKind.KUBERNETES,
        spec=SPEC,
        image="pytorch",
        image_title="PyTorch",
        image_url="quay.io/example/pytorch:2.8",
        mounts=MOUNTS,
        rate_micros_per_hour=0,
        stop_grace_seconds=1,
        kubernetes=KubernetesPlan(context="stand-in", namespace="default"),
    )


def _user(number: int) -> Any:
    name = f"user-{number}"
    url = f"/user/{name}/"
    user = SimpleNamespace(name=name, id=number, url=url, escaped_name=name, groups=[], settings={}, base_url=url)
    user.orm_user, user.db = SimpleNamespace(id=number), SimpleNamespace(commit=lambda: None)
    return user


@cache
def _hub_database() -> Any:
    """A hub's database in memory, with a token for each of a thousand servers."""
    from jupyterhub import orm

    db = orm.new_session_factory("sqlite:///:memory:")()
    for number in range(1000):
        user = orm.User(name=f"user-{number}")
        note = f"Server at /user/user-{number}/"
        db.add(orm.APIToken(user=user, note=note, hashed=f"hash-{number}", prefix="none"))
    db.commit()
    return db


def _spawner(kind: Any, number: int, **traits: Any) -> Any:
    hub = SimpleNamespace(public_host="", base_url="/hub/", api_url="http://127.0.0.1:8081/hub/api")
    spawner = kind(user=_user(number), hub=hub, orm_spawner=None, **traits)
    spawner._server = SimpleNamespace(base_url=spawner.user.url, url="")
    spawner.api_token = f"{number:032x}"
    return spawner


# -- our side -----------------------------------------------------------------


def _ours(number: int, kubeconfig: str, **traits: Any) -> Any:
    from jupyterhub_vessl_spawner.kubernetes import VesslKubernetesSpawner

    spawner = _spawner(VesslKubernetesSpawner, number, kubeconfig=kubeconfig, watch_seconds=600, **traits)
    spawner._give_up_seconds = time.monotonic() + 600
    return spawner


async def _pods(kubeconfig: str) -> Any:
    """The pods as our watch knows them."""
    from jupyterhub_vessl_spawner.kubernetes_objects import Place

    session = _ours(0, kubeconfig)._open(Place(context="stand-in", namespace="default", name="none"))
    session.cluster.pods.start()
    await session.cluster.pods.first_list(300)
    return session.cluster.pods


async def _watch_ours(kubeconfig: str) -> Callable[[], bool]:
    pods = await _pods(kubeconfig)
    return lambda: pods.find(LAST, "") is not None


async def _start_ours(kubeconfig: str, number: int, *, whole: bool, **traits: Any) -> Callable[[], Any]:
    spawner, plan = _ours(number, kubeconfig, **traits), plan_for(number)
    if whole:
        spawner.user.db = _hub_database()
        await spawner.start()
        return lambda: spawner.stop(now=True)
    spawner._plan, spawner._admission_id = plan, f"admission-{number}"
    await spawner.start_plan(plan)
    return lambda: spawner.stop_plan(now=True)


async def poll_all(kubeconfig: str, count: int) -> Callable[[], Coroutine[Any, Any, int]]:
    """``count`` spawners as a restarted hub has them, each with a pod that runs; polling all returns how many run."""
    spawners, pods = [], await _pods(kubeconfig)
    for number in range(count):
        spawner, plan, name = _ours(number, kubeconfig), plan_for(number), f"pod-{number}"
        place = {"context": "stand-in", "namespace": "default", "name": name, "uid": pods.find(name, "").uid}
        admission = {"admission_id": f"admission-{number}", "plan": plan.model_dump(mode="json")}
        state = {"vessl": admission, "vessl_kubernetes": place}
        spawner.load_state(state)
        spawners.append(spawner)

    async def poll() -> int:
        return sum([await spawner.poll() is None for spawner in spawners])

    return poll


# -- the peer -----------------------------------------------------------------


def _stock(number: int, kubeconfig: str) -> Any:
    from kubernetes_asyncio.config import kube_config
    from kubespawner import KubeSpawner

    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = kubeconfig  # which it reads from the environment only once
    return _spawner(
        KubeSpawner,
        number,
        events_enabled=False,
        cmd=["jupyterhub-singleuser"],
        image="quay.io/example/pytorch:2.8",
        storage_pvc_ensure=True,
        storage_capacity="1Gi",
        storage_access_modes=["ReadWriteOnce"],
        cpu_limit=0.1,
        cpu_guarantee=0.1,
        mem_limit="128M",
        mem_guarantee="128M",
        volumes=[
            {"name": "home", "persistentVolumeClaim": {"claimName": "{pvc_name}"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        ],
        volume_mounts=[
            {"name": "home", "mountPath": "/home/jovyan"},
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - of a pod
        ],
    )


async def _watch_stock(kubeconfig: str) -> Callable[[], bool]:
    spawner = _stock(0, kubeconfig)
    await spawner._start_watching_pods()
    return lambda: f"default/{LAST}" in spawner.pod_reflector.pods


async def _start_stock(kubeconfig: str, number: int) -> Callable[[], Any]:
    spawner = _stock(number, kubeconfig)
    await spawner.start()
    return lambda: spawner.stop(True)


# -- what a child process does ------------------------------------------------


def _rss_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _watching(pipe: Connection, side: str, kubeconfig: str, idle_seconds: float) -> dict[str, float]:
    rss, cpu = _rss_bytes(), time.process_time()
    has_last = await {"ours": _watch_ours, "stock": _watch_stock}[side](kubeconfig)
    listed = time.process_time()
    pipe.send("listed")
    while not has_last():  # noqa: ASYNC110 - the peer tells nobody
        await asyncio.sleep(0.02)
    changed = time.process_time()
    await asyncio.sleep(idle_seconds)
    idle = time.process_time()
    grown = _rss_bytes() - rss
    return {"list": listed - cpu, "cpu": changed - cpu, "idle": idle - changed, "rss": grown}


async def _starting(
    pipe: Connection, side: str, kubeconfig: str, first: int, count: int, traits: Mapping[str, Any]
) -> dict[str, float]:
    async def start(number: int) -> Callable[[], Any]:
        if side == "stock":
            return await _start_stock(kubeconfig, number)
        return await _start_ours(kubeconfig, number, whole=side == "whole", **traits)

    await (await start(first))()  # whatever is made or read only once
    cpu = time.process_time()
    stops = await asyncio.gather(*(start(number) for number in range(first + 1, first + 1 + count)))
    started = time.process_time()
    await asyncio.gather(*(stop() for stop in stops))
    return {"start": (started - cpu) / count, "stop": (time.process_time() - started) / count}


async def _polling(pipe: Connection, kubeconfig: str, count: int) -> dict[str, float]:
    poll = await poll_all(kubeconfig, count)
    await poll()  # what is worked out only once
    pipe.send("ready")
    found: dict[str, float] = {}
    while pipe.recv():
        cpu = time.process_time()
        running = await poll()
        found = {"running": running, "cpu": time.process_time() - cpu}
        pipe.send(found)
    return found


_WORK: dict[str, Callable[..., Coroutine[Any, Any, dict[str, float]]]] = {
    "watch": _watching,
    "start": _starting,
    "poll": _polling,
}


def _child(pipe: Connection, work: str, keywords: Mapping[str, Any]) -> None:
    logging.disable(logging.WARNING)
    try:
        result: Any = asyncio.run(_WORK[work](pipe, **keywords))
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    pipe.send(result)
    pipe.recv()  # do not end, and so cost the stand-in anything, before the figures are taken
    os._exit(0)


class Child:
    """A process that does one piece of ``work`` and then ends."""

    def __init__(self, work: str, **keywords: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["kubernetes_sides", "jupyterhub_vessl_spawner.kubernetes", "kubespawner"])
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_child, args=(far_end, work, keywords), daemon=True)
        self._process.start()
        far_end.close()

    def expect(self, word: str) -> None:
        """Wait until it has got that far.  Raises RuntimeError with what it said instead."""
        if (said := self._pipe.recv()) != word:
            raise RuntimeError(f"a side could not be measured: {said}")

    def again(self) -> dict[str, float]:
        """Let it do its work once more; what it measured."""
        self._pipe.send(True)
        found: dict[str, float] = self._pipe.recv()
        return found

    def stop(self) -> None:
        """Let it do its work no more."""
        self._pipe.send(False)
        self.result()

    def result(self) -> dict[str, float]:
        """What it measured; ends the process.  Raises RuntimeError with what went wrong."""
        found = self._pipe.recv()
        self._pipe.send(None)
        self._process.join(timeout=10)
        self._process.kill()
        if isinstance(found, str):
            raise RuntimeError(f"a side could not be measured: {found}")
        return found


def seeded_pod() -> dict[str, Any]:
    """A pod as clusters have them: rendered by us, with what an API server and KubeSpawner's label add to it."""
    from jupyterhub_vessl_spawner.kubernetes_render import render_pod
    from jupyterhub_vessl_spawner.kubernetes_settings import PodSettings

    environment = _spawner_environment()
    pod = render_pod(
        plan_for(1),
        environment=environment,
        command=["jupyterhub-singleuser"],
        port=8888,
        settings=PodSettings(image="x"),
        admission_id="0" * 32,
    )
    fields = {"f:metadata": {"f:labels": {f"f:{key}": {} for key in pod["metadata"]["labels"]}}}
    fields |= {"f:spec": {"f:containers": {'k:{"name":"notebook"}': {"f:env": {f"k:{n}": {} for n in environment}}}}}
    field = {"manager": "OpenAPI-Generator", "operation": "Update", "apiVersion": "v1", "time": "2026-11-01T00:00:00Z"}
    pod["metadata"]["managedFields"] = [{**field, "fieldsType": "FieldsV1", "fieldsV1": fields}]
    pod["metadata"]["labels"] |= {names.WORKSPACE: "w", "component": "singleuser-server"}
    return pod


def _spawner_environment() -> dict[str, str]:
    """About what a hub gives to every server: thirty variables."""
    return {f"JUPYTERHUB_SETTING_NUMBER_{number}": "http://hub.jupyterhub:8081/hub/api" for number in range(30)}
