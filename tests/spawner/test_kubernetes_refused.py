"""Starts that cannot succeed end early, with one plain sentence, and leave nothing behind."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hub_parts import eventually
from jupyterhub_vessl_spawner import kubernetes_objects, kubernetes_session, kubernetes_waiting
from jupyterhub_vessl_spawner.kubernetes_clusters import ApiRefusal
from jupyterhub_vessl_spawner.kubernetes_objects import Place
from jupyterhub_vessl_spawner.kubernetes_render import render_home_claim
from kubernetes_hub_parts import (
    CONTEXT,
    WORKSPACE_ID,
    LoneSpawner,
    gpu_spec,
    kubernetes_plan,
    lone_spawner,
    with_claim,
)
from kubernetes_parts import Image, Node, StandIn, StorageClass

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.plan import KubernetesPlan, Port

POD, HOME = names.pod_name(kubernetes_plan()), names.home_claim(WORKSPACE_ID)
SECRET_WORDS = ("m4rker", "t0ken", "vessl-", WORKSPACE_ID[:8], "node-1", "://", "apiVersion", "{", "nvidia.com")
STORAGE = (
    StorageClass("standard", default=True),
    StorageClass("m4rker-slow", provisioner="kubernetes.io/no-provisioner"),
    StorageClass("m4rker-broken", broken="m4rker: the array is full"),
)
TAINT = {"key": "dedicated.m4rker/team", "value": "others", "effect": "NoSchedule"}
NODES = (
    *(Node(f"m4rker-node-{number}", extended={"nvidia.com/gpu": 4}) for number in range(3)),
    Node("m4rker-node-3", extended={"nvidia.com/gpu": 8}, taints=[TAINT]),
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that tests need not sit out."""
    monkeypatch.setattr(kubernetes_session, "FIRST_EVENTS_SECONDS", 0.05)
    monkeypatch.setattr(kubernetes_session, "EVENTS_SECONDS_MAX", 0.1)
    monkeypatch.setattr(kubernetes_session, "STOP_PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_waiting, "SETTLE_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_objects, "GOING_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_objects, "LOOK_SECONDS", 0.05)


@pytest.fixture
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StandIn]:
    settings = getattr(request, "param", {})
    async with StandIn(folder=tmp_path / "kubernetes", storage_classes=STORAGE, pull_seconds=0.1, **settings) as api:
        yield api


@pytest.fixture
async def lone(api: StandIn, tmp_path: Path) -> AsyncIterator[LoneSpawner]:
    async with lone_spawner(api, tmp_path) as spawner:
        spawner.service.plan = kubernetes_plan(environment={"PLAN_SECRET": "m4rker"})
        yield spawner


@dataclass
class Case:
    """What is wrong, and what the person reads about it."""

    reads: str
    wrong: Callable[[StandIn], Any] = lambda api: None
    plan: dict[str, Any] = field(default_factory=dict)
    traits: dict[str, Any] = field(default_factory=dict)
    hint: str = "Tell an admin."


RBAC = 'pods is forbidden: User "system:serviceaccount:m4rker:hub" cannot create resource "pods" in API group ""'
POLICY = 'pods "m4rker" is forbidden: violates PodSecurity "restricted:latest": m4rker'
HOOK_DOWN = 'Internal error occurred: failed calling webhook "m4rker.example.com": Post "https://m4rker": refused'
STOP_ANOTHER = "Stop another workspace, choose a smaller resource spec, or ask an admin."
LATER = "Try again later, choose another resource spec, or ask an admin."
AGAIN = "Try again in a minute; if it stays so, tell an admin."
KEY_REF = {"valueFrom": {"secretKeyRef": {"name": "m4rker", "key": "m4rker"}}}


def in_class(name: str) -> dict[str, Any]:
    return {"kubernetes": KubernetesPlan(context=CONTEXT, namespace="default", storage_class=name)}


CASES = {
    "a quota of pods": Case(
        "the cluster's quota for workspaces does not allow more (0 of 0 in use)",
        lambda api: api.set_quota("default", {"pods": "0"}, name="m4rker"),
        hint=STOP_ANOTHER,
    ),
    "a quota of GPUs": Case(
        "the cluster's quota for GPUs does not allow more (0 of 4 in use)",
        lambda api: api.set_quota("default", {"requests.nvidia.com/gpu": "4"}, name="m4rker"),
        {"spec": gpu_spec(8)},
        hint=STOP_ANOTHER,
    ),
    "a quota of storage": Case(
        "the cluster's quota for storage does not allow more (0 of 1 in use)",
        lambda api: api.set_quota("default", {"requests.storage": "1"}, name="m4rker"),
        hint=STOP_ANOTHER,
    ),
    "a webhook that denies pods": Case(
        "a rule of the cluster does not allow it",
        lambda api: api.deny_by_webhook("m4rker.example.com", "m4rker: image must come from m4rker"),
    ),
    "a webhook that denies homes": Case(
        "a rule of the cluster does not allow it",
        lambda api: api.deny_by_webhook("m4rker.example.com", "m4rker", resource="persistentvolumeclaims"),
    ),
    "a webhook that is down": Case(
        "a check that the cluster makes before it starts anything does not answer",
        lambda api: api.fail(500, times=None, verb="create", resource="pods", message=HOOK_DOWN),
    ),
    "pod security": Case(
        "the security rules of the cluster do not allow it",
        lambda api: api.fail(403, verb="create", resource="pods", message=POLICY),
    ),
    "missing rights": Case(
        "JupyterHub lacks the right to create pods on the cluster, or the namespace does not exist",
        lambda api: api.fail(403, verb="create", resource="pods", message=RBAC),
    ),
    "a pod that is refused as invalid": Case(
        "the cluster finds a mistake in what JupyterHub asked for",
        lambda api: api.fail(422, verb="create", resource="pods", message='Pod "m4rker" is invalid: m4rker'),
    ),
    "an API that only fails": Case(
        "the cluster does not answer",
        lambda api: api.fail(500, times=None, verb="create", message="m4rker"),
        hint=AGAIN,
    ),
    "an API that is overloaded": Case(
        "the cluster has too much to do",
        lambda api: api.fail(429, times=None, verb="create", retry_after_seconds=1, message="m4rker"),
        hint=AGAIN,
    ),
    "an API that is too slow": Case(
        "the cluster does not answer",
        lambda api: api.delay(30, verb="create", resource="pods"),
        hint=AGAIN,
    ),
    "an API that is down": Case("the cluster does not answer", lambda api: api.go_down(), hint=AGAIN),
    "expired credentials": Case(
        "the cluster does not accept JupyterHub's credentials any more", lambda api: api.expire_credentials()
    ),
    "an unknown context": Case(
        "the hub has no access to its cluster", plan={"kubernetes": KubernetesPlan(context="m4rker")}
    ),
    "a missing namespace": Case(
        "the namespace for workspaces does not exist on the cluster",
        plan={"kubernetes": KubernetesPlan(context=CONTEXT, namespace="m4rker")},
    ),
    "a missing storage class": Case(
        "the cluster does not have the storage class that its volume should be made of", plan=in_class("m4rker")
    ),
    "a volume that nobody makes": Case("the cluster did not make its volume in time", plan=in_class("m4rker-slow")),
    "a volume that cannot be made": Case("the cluster fails to make its volume", plan=in_class("m4rker-broken")),
    "a volume that is gone": Case("one of its volumes does not exist", plan={"mounts": with_claim("m4rker-claim")}),
    "an image that is missing": Case(
        "the image PyTorch 2.8 is not in its registry", plan={"image_url": "m4rker.example.com/missing:1"}
    ),
    "an image that is private": Case(
        "the registry does not let the cluster have the image PyTorch 2.8",
        plan={"image_url": "m4rker.example.com/private:1"},
    ),
    "a setting that the node cannot follow": Case(
        "the node that should run it cannot set it up as JupyterHub asked", traits={"environment": {"X": KEY_REF}}
    ),
    "too few free GPUs": Case(
        "no node has 8 free H100 GPUs (of 4 nodes, 3 are taken, 1 is reserved for others)",
        plan={"spec": gpu_spec(8)},
        hint=LATER,
    ),
    "too little memory": Case(
        "no node has 1 TiB of free memory (of 4 nodes, 3 are taken, 1 is reserved for others)",
        plan={"spec": gpu_spec(0, memory_bytes=1 << 40)},
        hint=LATER,
    ),
    "no such nodes": Case(
        "no node has room for it (of 4 nodes, 1 is reserved for others, 3 are of another kind)",
        plan={"kubernetes": KubernetesPlan(context=CONTEXT, node_selector={"m4rker": "m4rker"})},
        hint=LATER,
    ),
}
SETTINGS = {"nodes": NODES, "images": {"m4rker.example.com/private:1": Image(pull="private", secret="m4rker")}}


@pytest.mark.parametrize("api", [SETTINGS], indirect=True, ids=[""])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_start_that_cannot_succeed_is_refused_in_plain_words_and_leaves_nothing(
    case: Case, lone: LoneSpawner, caplog: pytest.LogCaptureFixture
):
    lone.service.plan = lone.service.plan.model_copy(update=case.plan)
    lone.spawner.set_trait("environment", case.traits.get("environment", {}))
    down = case.wrong(lone.api)
    if asyncio.iscoroutine(down):
        await down
    seen = await lone.refused()
    assert seen.splitlines()[-1] == f"The workspace did not start: {case.reads}. Nothing is charged. {case.hint}"
    assert not [word for word in SECRET_WORDS if word in seen], seen
    await eventually(lambda: lone.service.ended)
    [(_, report)] = lone.service.ended
    assert (report.reason, report.detail) == (
        EndReason.FAILED,
        f"The workspace did not start: {case.reads}. Nothing is charged.",
    )
    lone.api.heal()
    lone.api.renew_credentials()
    await lone.api.come_back()
    await eventually(lambda: not lone.left())
    assert not [token for token in ("m4rker-token", "t0ken") if token in caplog.text]
    assert await lone.spawner.poll() == 0


async def test_a_home_that_was_there_before_outlives_a_failed_start(lone: LoneSpawner):
    lone.api.create(render_home_claim(lone.service.plan))
    before = lone.api.object("persistentvolumeclaims", "default", HOME)["metadata"]["uid"]
    lone.api.set_quota("default", {"pods": "0"})
    await lone.refused()
    assert lone.left() == ["persistentvolumeclaims"]
    assert lone.api.object("persistentvolumeclaims", "default", HOME)["metadata"]["uid"] == before


async def end_first_try(lone: LoneSpawner, end: Callable[[], None]) -> str:
    """Start, and let something happen to the pod before it is ready."""
    starting = asyncio.create_task(lone.refused())
    await eventually(lambda: (lone.api.object("pods", "default", POD) or {}).get("status", {}).get("containerStatuses"))
    end()
    return await starting


NEVER_READY = {"ready_after_seconds": None, "crash_seconds": 5.0}


@pytest.mark.parametrize("api", [NEVER_READY], indirect=True, ids=[""])
async def test_a_server_that_needs_too_much_memory_to_start_is_not_started_over_and_over(lone: LoneSpawner):
    def twice() -> None:
        for _ in range(2):
            lone.api.make_ready("default", POD)
            lone.api.oom_kill("default", POD)

    lone.spawner.ready_timeout_seconds = 3
    lone.service.plan = lone.service.plan.model_copy(update={"ports": (Port(name="db", type="tcp", port=5432),)})
    seen = await end_first_try(lone, twice)
    assert "it needs more memory than its resource spec has" in seen
    assert lone.left() == ["persistentvolumeclaims"]  # something has run in it


@pytest.mark.parametrize("api", [NEVER_READY], indirect=True, ids=[""])
async def test_a_pod_that_is_deleted_while_it_starts_is_missed_at_once(lone: LoneSpawner):
    lone.spawner.start_timeout = 30
    before_seconds = time.monotonic()
    seen = await end_first_try(lone, lambda: lone.api.delete("pods", "default", POD, grace_seconds=0))
    assert "the cluster took it away while it was starting" in seen
    assert time.monotonic() - before_seconds < 10
    assert lone.left() == []


@pytest.mark.parametrize("api", [NEVER_READY], indirect=True, ids=[""])
async def test_a_pod_that_never_gets_ready_is_given_up_before_the_hub_does_it(lone: LoneSpawner):
    lone.spawner.start_timeout = 2
    seen = await asyncio.wait_for(lone.refused(), 2)
    assert "it was not ready in time: its programs do not become ready" in seen
    assert lone.left() == []


@pytest.mark.parametrize("api", [{"nodes": NODES}], indirect=True, ids=[""])
async def test_while_an_autoscaler_adds_a_node_the_start_goes_on_waiting(lone: LoneSpawner):
    lone.service.plan = lone.service.plan.model_copy(update={"spec": gpu_spec(8)})
    lone.spawner.start_timeout = 2
    starting = asyncio.create_task(lone.refused())
    pod = await eventually(lambda: lone.api.object("pods", "default", POD))
    involved = {"kind": "Pod", "namespace": "default", "name": POD, "uid": pod["metadata"]["uid"]}
    event = {"kind": "Event", "apiVersion": "v1", "metadata": {"name": "up", "namespace": "default"}}
    lone.api.put(
        {**event, "involvedObject": involved, "reason": "TriggeredScaleUp", "message": "m4rker", "type": "Normal"}
    )
    seen = (await starting).splitlines()
    assert "The cluster is adding a node for it" in seen
    assert "the cluster is still adding a node for it; it may be there in some minutes" in seen[-1]
    assert lone.left() == []


async def test_a_home_that_is_being_deleted_is_waited_for_and_then_made_anew(lone: LoneSpawner):
    claim = render_home_claim(lone.service.plan)
    claim["metadata"]["finalizers"] = ["example.com/backup"]
    lone.api.create(claim)
    lone.api.delete("persistentvolumeclaims", "default", HOME)
    assert "its former home is still being deleted" in await lone.refused()
    starting = asyncio.create_task(lone.spawner.start())
    await asyncio.sleep(0.1)
    lone.api.patch("persistentvolumeclaims", "default", HOME, {"metadata": {"finalizers": None}})
    assert await starting
    assert lone.api.object("persistentvolumeclaims", "default", HOME)["status"]["phase"] == "Bound"


async def test_what_passes_is_tried_again(lone: LoneSpawner):
    lone.api.fail(500, times=2, verb="create", resource="pods")
    lone.api.fail(429, times=1, verb="create", resource="persistentvolumeclaims", retry_after_seconds=0)
    lone.api.fail(503, times=1, verb="get", resource="persistentvolumeclaims")
    lone.api.fail(409, times=1, verb="create", resource="pods", message="resourcequotas: the object has been modified")
    assert re.fullmatch(r"http://127\.\d+\.\d+\.\d+:\d+", await lone.spawner.start())


async def test_a_pod_that_an_earlier_start_left_is_replaced(lone: LoneSpawner):
    await lone.spawner.start()
    first = lone.api.object("pods", "default", POD)["metadata"]["uid"]
    lone.spawner.clear_state()  # as if the hub had died before it saved the state
    await lone.spawner.start()
    second = lone.api.object("pods", "default", POD)["metadata"]["uid"]
    assert first != second
    assert await lone.spawner.poll() is None


async def test_a_pod_whose_creation_seemed_to_fail_is_taken_up_and_not_made_twice(lone: LoneSpawner):
    made = []

    async def cut(method: str, *arguments: Any, **keywords: Any) -> Any:
        answer = await ask(method, *arguments, **keywords)
        if method == "create_namespaced_pod" and not made:
            made.append(answer["metadata"]["uid"])
            raise ApiRefusal(409)  # what the second try of a request meets whose first answer was lost
        return answer

    session = lone.spawner._open(Place(context=CONTEXT, namespace="default", name=POD))
    ask, session.cluster.ask = session.cluster.ask, cut  # type: ignore[method-assign]
    await lone.spawner.start()
    assert made == [lone.api.object("pods", "default", POD)["metadata"]["uid"]]


@pytest.mark.parametrize("setting", ["internal_ssl", "services_enabled", "enable_user_namespaces"])
async def test_a_setting_that_is_not_supported_is_refused_before_anybody_is_asked(
    api: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture, setting: str
):
    async with lone_spawner(api, tmp_path, **{setting: True}) as lone:
        told = await lone.refused()
        assert told == f"The hub's setting {setting} cannot be used with workspaces on Kubernetes. Tell an admin."
        assert f"Take {setting} out of the hub's configuration: " in caplog.text
        assert lone.service.calls == []


@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_without_the_right_to_see_pods_nothing_is_started(
    lone: LoneSpawner, caplog: pytest.LogCaptureFixture, verb: str
):
    denied = lone.api.fail(403, times=None, verb=verb, resource="pods", message="m4rker")
    for _ in range(2):
        seen = await lone.refused()
        right = f"JupyterHub lacks the right to {verb} pods on the cluster, or the namespace does not exist"
        assert seen.splitlines()[-1] == f"The workspace did not start: {right}. Nothing is charged. Tell an admin."
        assert not [word for word in SECRET_WORDS if word in seen], seen
    assert f"nothing can start, because the hub's Role lacks the verb {verb} for pods" in caplog.text
    assert not lone.api.requests["create", "pods"]
    assert lone.left() == []
    lone.api.heal(denied)
    await lone.spawner.start()
    assert await lone.spawner.poll() is None
    lone.api.fail(403, times=None, verb=verb, resource="pods", message="m4rker")
    lone.api.fail(403, times=None, verb="watch", resource="pods", message="m4rker")
    lone.api.cut_watches()
    await eventually(lambda: lone.spawner._session.cluster.pods.lacking)
    assert await lone.spawner.poll() is None  # what runs, runs on
    lone.api.heal()
    lone.api.delete("pods", "default", POD, grace_seconds=0)
    await eventually(lambda: lone.spawner._session.end(lone.plan))


@pytest.mark.parametrize(
    "traits",
    [
        {"extra_labels": {"who": "{m4rker}"}},
        {"extra_pod_config": {"restartPolicy": "Always"}},
        {"uid": 0},
        {"pod_security_context": {"runAsUser": 5}},
    ],
    ids=str,
)
async def test_a_setting_that_makes_no_sense_is_the_admins_business(lone: LoneSpawner, traits: dict[str, Any]):
    for name, value in traits.items():
        lone.spawner.set_trait(name, value)
    seen = await lone.refused()
    assert seen.endswith("a setting of the hub makes no sense. Tell an admin.")
    assert "m4rker" not in seen
    assert lone.left() == []


async def test_a_cancelled_start_leaves_nothing(lone: LoneSpawner):
    lone.api.delay(20, verb="create", resource="pods")
    starting = asyncio.create_task(lone.spawner.start())
    await eventually(lambda: lone.api.requests["create", "pods"])
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert lone.left() == []
    await eventually(lambda: [report.detail for _, report in lone.service.ended] == ["the start was cancelled"])
