"""Starts that are cut off, and names and quotas in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hub_parts import eventually
from jupyterhub_vessl_spawner import base, kubernetes_objects, kubernetes_session
from jupyterhub_vessl_spawner.kubernetes_objects import Place
from jupyterhub_vessl_spawner.kubernetes_session import Session
from jupyterhub_vessl_spawner.refusal import VesslSpawnRefused
from kubernetes_hub_parts import CONTEXT, LoneSpawner, kubernetes_plan, lone_spawner, running_kubernetes_hub
from kubernetes_parts import StandIn
from kubernetes_parts.fixtures import kubernetes_api  # noqa: F401

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.plan import Port

POD = names.pod_name(kubernetes_plan())
PORTS = (Port(name="db", port=5432, type="tcp"),)
QUOTA = 'Operation cannot be fulfilled on resourcequotas "m4rker": the object has been modified'


@pytest.fixture
async def lone(kubernetes_api: StandIn, tmp_path: Path) -> AsyncIterator[LoneSpawner]:  # noqa: F811
    async with lone_spawner(kubernetes_api, tmp_path) as spawner:
        spawner.service.plan = kubernetes_plan(ports=PORTS)
        yield spawner


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server ever answers."""

    async def never(*_: Any) -> bool:
        return False

    monkeypatch.setattr(base, "answers", never)


# -- starts that are cut off --------------------------------------------------


async def test_a_start_is_stopped_although_its_pod_takes_longer_than_the_hub_waits(
    hub_app: Any,
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    async with running_kubernetes_hub(hub_app, kubernetes_api, tmp_path) as kube:
        with monkeypatch.context() as patch:
            patch.setattr(base, "answers", lambda *_: asyncio.sleep(0, False))
            starting = asyncio.create_task(kube.start())
            await eventually(lambda: kube.alice().spawners and kube.spawner()._step.percent == 60)
            kube.api.hold_deletion("default", kube.pod)
            stopping = asyncio.create_task(kube.stop())
            # told at once, while the pod is still there; and the stop waits for the pod
            await eventually(lambda: kube.service.ended)
            await eventually(lambda: kube.spawner().pending == "stop")
            assert kube.left() == ["pods", "persistentvolumeclaims"]
            kube.api.release_deletion("default", kube.pod)
            assert (await stopping).status_code in (202, 204)
            await asyncio.wait_for(starting, 10)
        await eventually(lambda: not kube.alice().spawners[""].pending)
        assert kube.left() == ["persistentvolumeclaims"]
        servers = (await kube.request("users", "alice")).json()["servers"]
        assert not servers
        assert [(report.reason, report.detail) for _, report in kube.service.ended] == [
            (EndReason.FAILED, "the start was cancelled")
        ]
        assert (await kube.start()).status_code == 201


async def test_the_reason_is_told_although_undoing_outlasts_the_start(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    silent: None,
):
    async with lone_spawner(kubernetes_api, tmp_path, start_timeout=4, ready_timeout_seconds=1) as lone:
        lone.service.plan = kubernetes_plan()
        starting = asyncio.create_task(asyncio.wait_for(lone.spawner.start(), lone.spawner.start_timeout))
        await eventually(lambda: lone.spawner._step.percent == 60)
        lone.api.hold_deletion("default", lone.pod)
        with pytest.raises(VesslSpawnRefused, match="it did not answer within"):
            await starting
        assert await lone.spawner.poll() is None  # so that the hub stops it
        stopping = asyncio.create_task(lone.spawner.stop())
        await asyncio.wait([stopping], timeout=0.2)
        assert not stopping.done()
        lone.api.release_deletion("default", lone.pod)
        await stopping
        assert lone.left() == ["persistentvolumeclaims"]
        await eventually(lambda: lone.service.ended)
        assert len(lone.ends()) == 1


async def cut_off(lone: LoneSpawner) -> Session:
    """A start that is cancelled while the API works on its pod, which is there only afterwards; its session."""
    asked: list[Any] = []

    async def work_on_the_first(method: str, *arguments: Any, **keywords: Any) -> Any:
        if method == "create_namespaced_pod" and not asked:
            asked.append(arguments[1])
            await asyncio.Event().wait()
        return await ask(method, *arguments, **keywords)

    cluster = lone.spawner._open(Place(context=CONTEXT, namespace="default", name=POD)).cluster
    ask, cluster.ask = cluster.ask, work_on_the_first  # type: ignore[method-assign]
    starting = asyncio.create_task(lone.spawner.start())
    await eventually(lambda: asked)
    session = lone.spawner._session
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await asyncio.wait([lone.spawner._undoing])
    lone.spawner.clear_state()
    assert not lone.left()
    lone.api.create(asked[0])
    return session


async def test_a_pod_that_is_made_after_its_start_was_undone_is_removed(
    lone: LoneSpawner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kubernetes_session, "LATE_LOOKS_SECONDS", (0.0, 0.5))
    await cut_off(lone)
    await eventually(lambda: not lone.left())


async def test_the_pod_of_the_next_start_is_not_taken_for_a_late_one(
    lone: LoneSpawner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kubernetes_session, "LATE_LOOKS_SECONDS", (3600.0,))
    session = await cut_off(lone)
    await lone.spawner.start()
    made = lone.api.object("pods", "default", POD)["metadata"]["uid"]
    await kubernetes_objects._bury(session.objects, [0.0])
    assert lone.api.object("pods", "default", POD)["metadata"]["uid"] == made
    assert await lone.spawner.poll() is None


# -- names and quotas in the way ----------------------------------------------


async def test_a_service_whose_creation_seemed_to_fail_is_taken(lone: LoneSpawner):
    made = []

    async def lose_the_first_answer(method: str, *arguments: Any, **keywords: Any) -> Any:
        answer = await ask(method, *arguments, **keywords)
        if method == "create_namespaced_service" and not made:
            made.append(answer["metadata"]["uid"])
            return await ask(method, *arguments, **keywords)
        return answer

    session = lone.spawner._open(Place(context=CONTEXT, namespace="default", name=POD))
    ask, session.cluster.ask = session.cluster.ask, lose_the_first_answer  # type: ignore[method-assign]
    await lone.spawner.start()
    assert made == [lone.api.object("services", "default", POD)["metadata"]["uid"]]


async def test_a_service_of_an_earlier_start_is_replaced_once_it_is_gone(
    lone: LoneSpawner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kubernetes_objects, "SERVICE_GOING_SECONDS", 0.2)
    monkeypatch.setattr(kubernetes_objects, "LOOK_SECONDS", 0.05)
    metadata = {"name": POD, "namespace": "default", "finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}
    spec = {"ports": [{"port": 1, "name": "old"}], "selector": {"app": "old"}}
    old = lone.api.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    assert "the address of its last start is still being removed" in await lone.refused()
    monkeypatch.setattr(kubernetes_objects, "SERVICE_GOING_SECONDS", 30.0)
    starting = asyncio.create_task(lone.spawner.start())
    await eventually(lambda: lone.spawner._step.percent >= 34)
    lone.api.patch("services", "default", POD, {"metadata": {"finalizers": None}})
    await starting
    assert lone.api.object("services", "default", POD)["metadata"]["uid"] != old["metadata"]["uid"]


async def test_a_pod_of_an_earlier_start_that_does_not_go_is_waited_for_no_longer_than_sensible(
    lone: LoneSpawner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kubernetes_objects, "GOING_SECONDS", 0.2)
    monkeypatch.setattr(kubernetes_objects, "LOOK_SECONDS", 0.05)
    metadata = {"name": POD, "namespace": "default", "finalizers": ["example.com/accounting"]}
    container = {"name": "notebook", "image": "quay.io/example/pytorch:2.8"}
    lone.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
    assert "what is left of its last start is still there" in await asyncio.wait_for(lone.refused(), 20)
    lone.api.patch("pods", "default", POD, {"metadata": {"finalizers": None}})
    assert await lone.spawner.start()


async def test_a_quota_that_many_write_to_is_tried_again(lone: LoneSpawner, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kubernetes_objects, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(kubernetes_objects, "GOING_SECONDS", 0.3)
    conflict = {"verb": "create", "message": QUOTA, "reason": "Conflict"}
    for resource in ("persistentvolumeclaims", "pods"):
        number = lone.api.fail(409, times=None, resource=resource, **conflict)
        told = await lone.refused()
        assert "The workspace did not start: the cluster is busy. Nothing is charged." in told
        assert "m4rker" not in told
        lone.api.heal(number)
        lone.api.fail(409, times=3 if resource == "pods" else 2, resource=resource, **conflict)
        await lone.spawner.start()
        await lone.spawner.stop()
        lone.spawner.clear_state()
        lone.api.delete("persistentvolumeclaims", "default", names.home_claim(lone.plan.workspace_id))
