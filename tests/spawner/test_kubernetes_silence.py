"""A node that stops answering: its workspaces go on for a while, are lost then, and nobody pays for the silence."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hub_parts import eventually
from jupyterhub_vessl_spawner import kubernetes_objects, kubernetes_session
from jupyterhub_vessl_spawner.kubernetes_pods import read_pod
from kubernetes_hub_parts import LoneSpawner, lone_spawner
from kubernetes_parts import Node, StandIn

from jupyterhub_vessl.model.lifecycle import EndReason

SILENT = [(EndReason.LOST, "The node that ran it stopped answering.")]
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_session, "GONE_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_objects, "GOING_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_objects, "LOOK_SECONDS", 0.05)


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncIterator[LoneSpawner]:
    async with (
        StandIn(folder=tmp_path / "api", nodes=[Node("node-1"), Node("node-2")], grace_in_full=True) as api,
        lone_spawner(api, tmp_path, node_silence_seconds=3600) as spawner,
    ):
        await spawner.start()
        yield spawner


def pod(lone: LoneSpawner) -> dict[str, Any]:
    return lone.api.object("pods", "default", lone.pod)


def silence(lone: LoneSpawner, *, hours: int = 0) -> str:
    """The node of its pod stops answering; the cluster noticed it so long ago."""
    node = pod(lone)["spec"]["nodeName"]
    lone.api.silence_node(node)
    at = datetime.now(timezone.utc) - timedelta(hours=hours)
    conditions = pod(lone)["status"]["conditions"]
    for condition in conditions:
        if condition["type"] == "Ready":
            condition["lastTransitionTime"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    lone.api.patch("pods", "default", lone.pod, {"status": {"conditions": conditions}}, subresource="status")
    return str(node)


async def is_known(lone: LoneSpawner, *, silent: bool = True) -> None:
    session = lone.spawner._session
    await eventually(lambda: session.last is not None and bool(session.last.trouble.silent_since) is silent)


def free_ms(lone: LoneSpawner) -> int:
    [(_, report)] = lone.service.ended
    return int(report.elapsed_ms)


async def test_a_node_that_is_cut_off_for_a_moment_ends_nothing(lone: LoneSpawner):
    node = silence(lone)
    await is_known(lone)
    assert await lone.spawner.poll() is None
    lone.api.restore_node(node)
    await is_known(lone, silent=False)
    lone.spawner._session.silence._limit_seconds = 0.0
    assert await lone.spawner.poll() is None
    assert not lone.service.ended


async def test_a_node_that_stays_silent_ends_its_workspace_as_of_when_it_fell_silent(lone: LoneSpawner):
    lone.service.plan = lone.plan.model_copy(update={"stop_grace_seconds": 20})
    lone.spawner._plan = lone.plan
    node = silence(lone, hours=2)
    await is_known(lone)
    assert await lone.spawner.poll() is None, "an hour by the clock of the hub, whatever that of the cluster says"
    lone.spawner._session.silence._limit_seconds = 0.0
    assert await lone.spawner.poll() == 1
    await eventually(lambda: lone.ends() == SILENT)
    assert 2 * HOUR_MS <= free_ms(lone) < 2 * HOUR_MS + 60_000
    # it would get its time to save itself, should its node come back; and no start waits for that
    await eventually(lambda: pod(lone)["metadata"].get("deletionGracePeriodSeconds") == 20)
    before = pod(lone)["metadata"]["uid"]
    lone.spawner.clear_state()
    await lone.spawner.start()
    assert pod(lone)["metadata"]["uid"] != before
    assert pod(lone)["spec"]["nodeName"] != node
    assert await lone.spawner.poll() is None


async def test_what_ran_on_a_node_that_comes_back_late_is_removed(lone: LoneSpawner):
    node = silence(lone)
    await is_known(lone)
    lone.spawner._session.silence._limit_seconds = 0.0
    assert await lone.spawner.poll() == 1
    await eventually(lambda: "deletionTimestamp" in pod(lone)["metadata"])
    lone.api.restore_node(node)
    await eventually(lambda: lone.left() == ["persistentvolumeclaims"])


async def test_a_pod_that_the_cluster_takes_away_from_a_silent_node_is_lost_at_once(lone: LoneSpawner):
    lone.api.take_away(silence(lone, hours=1))
    await eventually(lone.is_over)
    assert lone.ends() == SILENT
    assert HOUR_MS <= free_ms(lone) < HOUR_MS + 60_000


async def test_a_pod_that_vanishes_with_its_silent_node_is_lost_as_of_the_silence(lone: LoneSpawner):
    silence(lone, hours=1)
    await is_known(lone)
    lone.api.delete("pods", "default", lone.pod, grace_seconds=0)
    await eventually(lone.is_over)
    assert lone.ends() == SILENT
    assert free_ms(lone) >= HOUR_MS


async def test_who_stops_a_workspace_on_a_dead_node_does_not_pay_for_the_silence(lone: LoneSpawner):
    silence(lone, hours=1)
    await is_known(lone)
    await asyncio.wait_for(lone.spawner.stop(), 20)
    assert lone.left() == ["persistentvolumeclaims"]
    assert [reason for reason, _ in lone.ends()] == [EndReason.USER]
    assert free_ms(lone) >= HOUR_MS
    lone.spawner.clear_state()
    await lone.spawner.start()
    await lone.spawner.stop()
    assert lone.service.ended[-1][1].elapsed_ms < 60_000


async def test_a_workspace_that_ends_by_itself_is_billed_to_its_end(lone: LoneSpawner):
    lone.api.restore_node(silence(lone, hours=1))
    lone.api.exit_pod("default", lone.pod, 0)
    await eventually(lone.is_over)
    assert free_ms(lone) < 60_000


async def test_a_hub_that_was_started_meanwhile_finds_the_silence(lone: LoneSpawner):
    silence(lone, hours=1)
    await is_known(lone)
    spawner = lone.spawner
    state = spawner.get_state()
    spawner.stop_polling()
    spawner.clear_state()
    spawner.load_state(state)
    assert await spawner.poll() is None
    spawner._session.silence._limit_seconds = 0.0
    assert await spawner.poll() == 1
    await eventually(lambda: lone.ends() == SILENT)
    assert free_ms(lone) >= HOUR_MS


@pytest.mark.parametrize("status", ["False", "Unknown"])
async def test_what_the_node_itself_says_is_no_silence(lone: LoneSpawner, status: str):
    silent = copy.deepcopy(pod(lone))
    ready = next(one for one in silent["status"]["conditions"] if one["type"] == "Ready")
    ready |= {"status": status, "lastTransitionTime": "2026-11-22T04:23:33Z"}
    assert read_pod(silent).trouble.silent_since == "2026-11-22T04:23:33Z"
    # somebody's gate, as a load balancer's
    ready["reason"] = "ReadinessGatesNotReady"
    assert not read_pod(silent).trouble.silent_since
    # a sidecar that is not ready
    ready["reason"] = "ContainersNotReady"
    silent["status"]["containerStatuses"].append({"name": "sidecar", "ready": False})
    assert not read_pod(silent).trouble.silent_since
    silent["status"]["containerStatuses"].pop()
    beside = next(one for one in silent["status"]["conditions"] if one["type"] == "ContainersReady")
    beside["status"] = "False"
    assert not read_pod(silent).trouble.silent_since
