"""How a workspace on Kubernetes ends, and what is told of it; what happens while the API does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hub_parts import eventually
from jupyterhub_vessl_spawner import kubernetes_objects, kubernetes_session
from kubernetes_hub_parts import LoneSpawner, lone_spawner
from kubernetes_parts import StandIn
from kubernetes_parts.fixtures import kubernetes_api  # noqa: F401

from jupyterhub_vessl.model.lifecycle import EndReason


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_session, "STOP_PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_session, "GONE_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_objects, "BURIAL_SECONDS_MAX", 0.1)


@pytest.fixture
async def lone(kubernetes_api: StandIn, tmp_path: Path) -> AsyncIterator[LoneSpawner]:  # noqa: F811
    async with lone_spawner(kubernetes_api, tmp_path) as spawner:
        yield spawner


def own_status(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    status = {"name": "notebook", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {**status, **more}


async def test_a_server_that_exits_is_told_with_its_code(lone: LoneSpawner):
    await lone.start()
    lone.api.exit_pod("default", lone.pod, 0)
    await eventually(lone.is_over)
    assert lone.ends() == [(EndReason.EXITED, "exit code 0")]
    await eventually(lambda: lone.left() == ["persistentvolumeclaims"])


LOW = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. Container notebook was using"
FULL = 'Usage of EmptyDir volume "temporary" exceeds the limit "16Mi". '


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        (LOW, "Its node ran out of memory and ended it."),
        (FULL, "It wrote more than its temporary storage of 16 MiB holds, so its node ended it."),
    ],
    ids=["memory", "storage"],
)
async def test_an_eviction_is_told_with_its_reason(lone: LoneSpawner, message: str, detail: str):
    await lone.start()
    lone.api.evict("default", lone.pod, message)
    await eventually(lone.is_over)
    assert lone.ends() == [(EndReason.LOST, detail)]
    await eventually(lambda: lone.left() == ["persistentvolumeclaims"])


async def test_a_pod_on_a_dead_node_has_ended_although_it_is_still_there(lone: LoneSpawner):
    await lone.start()
    lone.api.lose_node("node-1")
    await eventually(lone.is_over)
    assert lone.ends() == [(EndReason.LOST, "The node that ran it failed or was taken out of service.")]


async def test_a_pod_that_somebody_deletes_is_told_so(lone: LoneSpawner):
    await lone.start()
    lone.api.delete("pods", "default", lone.pod)
    await eventually(lone.is_over)
    assert lone.ends() == [(EndReason.LOST, "It was removed from the cluster, not by JupyterHub.")]


async def test_a_pod_that_does_not_end_is_removed_without_its_node(lone: LoneSpawner):
    await lone.start()
    lone.api.hold_deletion("default", lone.pod)
    await lone.spawner.stop()
    assert lone.left() == ["persistentvolumeclaims"]


# -- restarts in place --------------------------------------------------------


async def test_running_out_of_memory_in_place_is_told_once_each_time_also_after_an_outage(lone: LoneSpawner):
    lone.service.notice_failures = 3  # one call with its three tries
    await lone.start()
    lone.api.oom_kill("default", lone.pod)
    await eventually(lambda: lone.service.calls.count("notice") == 3)

    async def told() -> bool:
        assert await lone.spawner.poll() is None
        return bool(lone.service.notices)

    await eventually(told)
    for _ in range(3):
        assert await lone.spawner.poll() is None
    lone.api.exit_pod("default", lone.pod, 1)
    await eventually(lambda: len(lone.service.notices) == 2)
    (first_id, first), (_, second) = lone.service.notices
    assert first_id == "admission-1"
    assert (first.kind, first.restarts) == ("out-of-memory", 1)
    assert "needed more than 512 MiB of memory" in first.detail
    assert (second.kind, second.restarts) == ("restarted", 2)
    assert not lone.service.ended


async def test_a_server_that_keeps_ending_has_ended(lone: LoneSpawner):
    await lone.start()
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    status = own_status(state, restartCount=3, lastState=last)
    lone.api.patch("pods", "default", lone.pod, {"status": {"containerStatuses": [status]}}, subresource="status")
    await eventually(lone.is_over)
    assert lone.ends() == [(EndReason.OUT_OF_MEMORY, "it used more memory than its resource spec has")]


async def test_a_server_that_its_node_cannot_start_again_has_ended_after_a_while(
    lone: LoneSpawner, monkeypatch: pytest.MonkeyPatch
):
    await lone.start()
    state = {"waiting": {"reason": "CreateContainerError", "message": "device busy"}}
    before = {"terminated": {"reason": "Error", "exitCode": 1}}
    status = own_status(state, restartCount=1, lastState=before)
    lone.api.patch("pods", "default", lone.pod, {"status": {"containerStatuses": [status]}}, subresource="status")
    await eventually(lambda: lone.spawner._session.last.trouble.waits == "CreateContainerError")
    assert await lone.spawner.poll() is None, "it may be started again"
    monkeypatch.setattr(kubernetes_session, "STANDSTILL_SECONDS_MAX", 0.0)
    assert await lone.spawner.poll() == 1
    told = [(EndReason.LOST, "It ended, and its node could not start it again.")]
    await eventually(lambda: lone.ends() == told)


async def test_an_outage_neither_ends_a_running_workspace_nor_hides_one_that_ended(lone: LoneSpawner):
    await lone.start()
    await lone.api.go_down()
    await asyncio.sleep(0.5)
    assert await lone.spawner.poll() is None
    lone.api.delete("pods", "default", lone.pod, grace_seconds=0)
    await lone.api.come_back()
    await eventually(lone.is_over)
    assert lone.ends() == [(EndReason.LOST, "It was removed from the cluster, not by JupyterHub.")]


async def test_a_stop_during_an_outage_is_carried_out_after_it(lone: LoneSpawner):
    await lone.start()
    await lone.api.go_down()
    await lone.spawner.stop()
    assert lone.api.object("pods", "default", lone.pod) is not None
    await lone.api.come_back()
    await eventually(lambda: lone.left() == ["persistentvolumeclaims"])


async def test_a_pod_with_a_new_address_is_reached_there(lone: LoneSpawner):
    await lone.start()
    lone.api.patch("pods", "default", lone.pod, {"status": {"podIP": "127.99.0.9"}}, subresource="status")
    await eventually(lambda: lone.spawner._session.last.ip == "127.99.0.9")
    assert await lone.spawner.poll() is None
    assert lone.spawner.server.ip == "127.99.0.9"
