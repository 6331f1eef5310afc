"""Where tcp ports are reached on a cluster, as the service is told of it beside starting and polling."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_hub_parts
import pytest
from aiohttp import web
from hub_parts import TOKEN, eventually
from jupyterhub_vessl_spawner import kubernetes_addresses
from jupyterhub_vessl_spawner.kubernetes_clusters import CLUSTERS
from kubernetes_hub_parts import (
    CONTEXT,
    LoneSpawner,
    TellingService,
    kubernetes_plan,
    lone_spawner,
    running_kubernetes_hub,
)
from kubernetes_parts import StandIn
from kubernetes_parts.fixtures import kubernetes_api  # noqa: F401

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.errors import NotFound
from jupyterhub_vessl.model.plan import KubernetesPlan, Port, WorkspacePlan
from jupyterhub_vessl.model.wire import ErrorBody

PORTS = (Port(name="ssh", type="tcp", port=2222), Port(name="app", type="http", port=3000))
NODE_IP = "127.0.0.1"
MARKER = "m4rker-of-an-answer"


def plan_reached_by(kind: str) -> WorkspacePlan:
    place = KubernetesPlan(context=CONTEXT, namespace="default", tcp_service=kind)
    return kubernetes_plan(kubernetes=place, ports=PORTS)


POD = names.pod_name(plan_reached_by("ClusterIP"))


@dataclass
class AddressService(TellingService):
    """A service that takes addresses, after it has failed ``address_failures`` times with ``address_status``."""

    address_failures: int = 0
    address_status: int = 503

    async def _addresses(self, request: web.Request) -> web.Response:
        if not self.address_failures:
            return await super()._addresses(request)
        await self._begin(request, "addresses")
        self.address_failures -= 1
        body = ErrorBody(code="no", message=MARKER) if self.address_status == NotFound.status else None
        return web.json_response(body.model_dump() if body else MARKER, status=self.address_status)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_hub_parts, "TellingService", AddressService)
    monkeypatch.setattr(kubernetes_addresses, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(kubernetes_addresses, "PAUSE_SECONDS_MAX", 0.1)
    monkeypatch.setattr(kubernetes_addresses, "RESUMED_SECONDS", 0.05)


@pytest.fixture
async def lone(kubernetes_api: StandIn, tmp_path: Path) -> AsyncIterator[LoneSpawner]:  # noqa: F811
    async with lone_spawner(kubernetes_api, tmp_path) as spawner:
        yield spawner


def errand(lone: LoneSpawner) -> asyncio.Task[None]:
    """What reports the addresses of the running workspace."""
    task = lone.spawner._session._errand
    assert task is not None
    return task


def node_port(api: StandIn) -> int:
    return int(api.object("services", "default", POD)["spec"]["ports"][0]["nodePort"])


def told(lone: LoneSpawner) -> list[dict[str, str]]:
    return [addresses for _, addresses in lone.service.told]


# -- the three ways -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
async def test_the_address_is_told_once_after_the_workspace_is_ready(lone: LoneSpawner, kind: str):
    lone.service.plan = plan_reached_by(kind)
    await lone.start()
    await eventually(errand(lone).done)
    expected = {
        "ClusterIP": f"{POD}.default.svc:2222",
        "NodePort": f"{NODE_IP}:{node_port(lone.api) if kind == 'NodePort' else 0}",
        "LoadBalancer": f"{NODE_IP}:2222",
    }
    assert lone.service.told == [("admission-1", {"ssh": expected[kind]})]
    assert lone.service.calls == ["admit", "ready", "addresses"]
    for _ in range(3):
        assert await lone.spawner.poll() is None
    assert lone.service.calls == ["admit", "ready", "addresses"]
    # the hub may not see nodes, and what it made need not be asked for
    assert {resource for _, resource in lone.api.requests} == {"pods", "services", "persistentvolumeclaims"}
    assert ("get", "services") not in lone.api.requests
    assert lone.api.requests["get", "pods"] == (kind == "NodePort")


async def test_a_load_balancer_that_comes_late_is_told_when_it_comes(lone: LoneSpawner):
    lone.service.plan = plan_reached_by("LoadBalancer")
    lone.api.hold_balancers()
    await lone.start()
    await eventually(lambda: lone.api.requests["get", "services"] >= 3)
    assert told(lone) == [{"ssh": ""}]
    lone.api.give_balancer("default", POD, hostname="lb.example")
    await eventually(errand(lone).done)
    assert told(lone) == [{"ssh": ""}, {"ssh": "lb.example:2222"}]


async def test_a_load_balancer_that_never_comes_is_given_up(lone: LoneSpawner, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kubernetes_addresses, "LATE_SECONDS_MAX", 0.2)
    lone.service.plan = plan_reached_by("LoadBalancer")
    lone.api.hold_balancers()
    await lone.start()
    await eventually(errand(lone).done)
    assert told(lone) == [{"ssh": ""}]
    assert await lone.spawner.poll() is None


async def test_without_tcp_ports_nobody_is_asked_or_told(lone: LoneSpawner):
    lone.service.plan = kubernetes_plan(ports=PORTS[1:])
    await lone.start()
    assert await lone.spawner.poll() is None
    assert lone.spawner._session._errand is None
    assert lone.service.calls == ["admit", "ready"]
    assert "services" not in {resource for _, resource in lone.api.requests}


# -- what does not answer -----------------------------------------------------


async def test_a_service_that_does_not_answer_is_told_later_and_delays_nothing(
    lone: LoneSpawner, caplog: pytest.LogCaptureFixture
):
    lone.service.plan, lone.service.address_failures = plan_reached_by("LoadBalancer"), 1_000
    lone.api.hold_balancers()
    await lone.start()
    assert not lone.service.told
    await eventually(lambda: lone.service.calls.count("addresses") >= 2)
    await lone.service.down()
    lone.service.address_failures = 0
    lone.api.give_balancer("default", POD, ip="203.0.113.7")
    await asyncio.sleep(0.2)
    assert not errand(lone).done()
    await lone.service.up()
    await eventually(errand(lone).done)
    assert told(lone) == [{"ssh": "203.0.113.7:2222"}], "what was not told in time is not told any more"
    for secret in (TOKEN, "m4rker-token", "t0ken", MARKER):
        assert secret not in caplog.text


async def test_an_admission_that_the_service_does_not_know_is_not_told_again(
    lone: LoneSpawner, caplog: pytest.LogCaptureFixture
):
    lone.service.plan = plan_reached_by("ClusterIP")
    lone.service.address_failures, lone.service.address_status = 1, NotFound.status
    await lone.start()
    await eventually(errand(lone).done)
    assert lone.service.calls.count("addresses") == 1
    assert await lone.spawner.poll() is None


async def test_an_api_that_does_not_answer_is_asked_again(lone: LoneSpawner):
    lone.service.plan = plan_reached_by("LoadBalancer")
    lone.api.hold_balancers()
    await lone.start()
    await eventually(lambda: lone.service.told)
    await lone.api.go_down()
    lone.api.give_balancer("default", POD, ip="2001:db8::7")
    await asyncio.sleep(0.2)
    await lone.api.come_back()
    await eventually(errand(lone).done)
    assert told(lone)[-1] == {"ssh": "[2001:db8::7]:2222"}


async def test_a_right_that_is_missing_is_named_in_the_log_and_ends_nothing(
    lone: LoneSpawner, caplog: pytest.LogCaptureFixture
):
    lone.service.plan = plan_reached_by("LoadBalancer")
    lone.api.hold_balancers()
    lone.api.fail(403, times=None, verb="get", resource="services", message=MARKER)
    with caplog.at_level(logging.WARNING):
        await lone.start()
        await eventually(errand(lone).done)
    assert told(lone) == [{"ssh": ""}]
    assert await lone.spawner.poll() is None
    assert "the hub's Role lacks the verb get of services or pods" in caplog.text
    assert MARKER not in caplog.text


# -- ends ---------------------------------------------------------------------


@pytest.mark.parametrize("end", ["stop", "pod", "forget"])
async def test_nothing_is_asked_any_more_when_the_workspace_is_over(lone: LoneSpawner, end: str):
    lone.service.plan = plan_reached_by("LoadBalancer")
    lone.api.hold_balancers()
    await lone.start()
    await eventually(lambda: lone.service.told)
    task = errand(lone)
    if end == "stop":
        await lone.spawner.stop()
    elif end == "pod":
        lone.api.exit_pod("default", lone.pod, 0)
        await eventually(lone.is_over)
    else:
        lone.spawner.clear_state()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert told(lone) == [{"ssh": ""}]


async def test_the_address_of_an_earlier_start_is_not_told_for_the_next(lone: LoneSpawner):
    lone.service.plan = plan_reached_by("LoadBalancer")
    lone.api.hold_balancers()
    await lone.start()
    await eventually(lambda: lone.service.told)
    await lone.spawner.stop()
    lone.spawner.clear_state()
    lone.service.told.clear()
    await lone.spawner.start()
    lone.api.give_balancer("default", POD, ip="203.0.113.8")
    await eventually(errand(lone).done)
    assert {admission for admission, _ in lone.service.told} == {"admission-2"}
    assert told(lone)[-1] == {"ssh": "203.0.113.8:2222"}


# -- another hub --------------------------------------------------------------


async def test_a_hub_that_is_started_anew_tells_the_address_that_came_meanwhile(
    hub_app: Any,
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
):
    kubernetes_api.hold_balancers()
    async with running_kubernetes_hub(hub_app, kubernetes_api, tmp_path) as kube:
        kube.service.plan = plan_reached_by("LoadBalancer")
        assert (await kube.start()).status_code == 201
        await eventually(lambda: kube.service.told)
        state = json.loads(json.dumps(kube.spawner().get_state()))
        kube.spawner()._session.detach()
        await CLUSTERS.close()  # as a hub does that ends
        kubernetes_api.give_balancer("default", POD, ip="203.0.113.9")
        after = kube.new_spawner(state)
        assert after._session._errand is None
        assert await after.poll() is None
        await eventually(after._session._errand.done)
        assert kube.service.told == [("admission-1", {"ssh": ""}), ("admission-1", {"ssh": "203.0.113.9:2222"})]
        assert await after.poll() is None
        assert len(kube.service.told) == 2


async def test_a_node_port_that_an_earlier_hub_could_not_tell_is_told(
    lone: LoneSpawner,
):
    lone.service.plan = plan_reached_by("NodePort")
    lone.service.address_failures = 1000
    await lone.start()
    state = json.loads(json.dumps(lone.spawner.get_state()))
    lone.spawner._session.detach()
    lone.spawner._session = None
    lone.service.address_failures = 0
    lone.spawner.load_state(state)
    assert await lone.spawner.poll() is None
    await eventually(errand(lone).done)
    assert told(lone) == [{"ssh": f"{NODE_IP}:{node_port(lone.api)}"}]
