"""The Kubernetes spawner in a real hub, against a stand-in of the API over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hub_parts import eventually
from jupyterhub_vessl_spawner import kubernetes_objects, kubernetes_session
from jupyterhub_vessl_spawner.base import VesslSpawnerMixin
from jupyterhub_vessl_spawner.kubernetes import VesslKubernetesSpawner
from jupyterhub_vessl_spawner.kubernetes_clusters import CLUSTERS
from jupyterhub_vessl_spawner.kubernetes_operator import pod_settings
from jupyterhub_vessl_spawner.refusal import VesslSpawnRefused
from kubernetes_hub_parts import (
    CONTEXT,
    KubernetesHub,
    kubernetes_plan,
    running_kubernetes_hub,
)
from kubernetes_parts import StandIn
from kubernetes_parts.fixtures import kubernetes_api  # noqa: F401

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.plan import KubernetesPlan, Port

HOSTILE = {"BRACES": '{"a": {username}} {api_token} {0}', "DOLLARS": "$(JUPYTERHUB_API_TOKEN) $$HOME $(id)"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_session, "STOP_PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_session, "GONE_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_objects, "BURIAL_SECONDS_MAX", 0.1)


@pytest.fixture
async def kube(hub_app: Any, kubernetes_api: StandIn, tmp_path: Path) -> AsyncIterator[KubernetesHub]:  # noqa: F811
    async with running_kubernetes_hub(hub_app, kubernetes_api, tmp_path) as hub:
        yield hub


def the_pod(kube: KubernetesHub) -> dict[str, Any]:
    return kube.api.object("pods", "default", kube.pod)


def variables(kube: KubernetesHub) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in the_pod(kube)["spec"]["containers"][0]["env"]}


def is_over(kube: KubernetesHub) -> Any:
    """Whether the hub has taken note that the server is gone, without having polled at its own pace."""
    return kube.service.ended and not kube.alice().running


def ends(kube: KubernetesHub) -> list[tuple[EndReason, str]]:
    return [(report.reason, report.detail) for _, report in kube.service.ended]


# -- start, poll, stop --------------------------------------------------------


async def test_a_workspace_starts_runs_and_stops_and_keeps_its_home(kube: KubernetesHub):
    ports = (Port(name="db", type="tcp", port=5432), Port(name="api", type="http", port=8000))
    kube.service.plan = kubernetes_plan(ports=ports)
    assert (await kube.start()).status_code == 201
    assert kube.left() == ["pods", "services", "persistentvolumeclaims"]
    home = kube.api.object("persistentvolumeclaims", "default", kube.home)["metadata"]["uid"]
    first = the_pod(kube)["metadata"]["uid"]
    kube.api.forget_requests()
    for _ in range(20):
        assert await kube.spawner().poll() is None
    assert not kube.api.requests
    assert (await kube.stop()).status_code == 204
    assert kube.left() == ["persistentvolumeclaims"]
    assert [call for call in kube.service.calls if call != "addresses"] == ["admit", "ready", "ended"]
    assert ends(kube) == [(EndReason.USER, "")]
    assert (await kube.start()).status_code == 201
    assert kube.api.object("persistentvolumeclaims", "default", kube.home)["metadata"]["uid"] == home
    assert the_pod(kube)["metadata"]["uid"] != first
    service = kube.api.object("services", "default", kube.pod)
    assert service["metadata"]["ownerReferences"][0]["uid"] == the_pod(kube)["metadata"]["uid"]


async def test_a_start_without_trouble_asks_for_no_events(kube: KubernetesHub):
    await kube.start()
    assert dict(kube.api.requests) == {
        ("list", "pods"): 1,
        ("watch", "pods"): 1,
        ("get", "persistentvolumeclaims"): 1,
        ("create", "persistentvolumeclaims"): 1,
        ("create", "pods"): 1,
    }


async def test_options_reach_nothing_but_the_service(kube: KubernetesHub):
    kube.app.config.VesslKubernetesSpawner.profile_list = [
        {"display_name": "evil", "default": True, "kubespawner_override": {"image": "evil", "uid": 6666}}
    ]
    options = {"name": "an evil name", "image": "evil", "environment": {"EVIL": "evil"}}
    assert (await kube.start(options)).status_code == 201
    assert kube.service.asked[0].options == options
    assert kube.service.ready[0].isolation == "A pod of its own, at Kubernetes' pod security level restricted."
    assert not [word for word in ("evil", "6666") if word in json.dumps(the_pod(kube))]
    assert "evil" not in json.dumps(kube.spawner().get_state())


def test_the_form_is_ours_and_not_kubespawners():
    spawner = VesslKubernetesSpawner(profile_list=[{"display_name": "a"}])
    for trait in ("options_form", "options_from_form", "apply_user_options"):
        assert getattr(spawner, trait) is getattr(VesslSpawnerMixin(), trait)


async def test_the_plans_variables_arrive_as_they_are_and_the_hubs_win(kube: KubernetesHub):
    mine = {**HOSTILE, "JUPYTERHUB_API_TOKEN": "mine", "JUPYTER_IMAGE": "mine", "MEM_LIMIT": "mine"}
    kube.service.plan = kubernetes_plan(environment=mine)
    kube.app.config.VesslKubernetesSpawner.environment = {"HUB": "{username}"}
    kube.app.config.VesslKubernetesSpawner.mem_limit = "64M"
    await kube.start()
    found = variables(kube)
    assert {name: found[name].replace("$$", "$") for name in HOSTILE} == HOSTILE
    assert found["JUPYTERHUB_API_TOKEN"] not in ("mine", "")
    assert found["JUPYTER_IMAGE"] == kube.service.plan.image_url
    assert found["MEM_LIMIT"] == str(kube.service.plan.spec.memory_bytes)
    assert found["HUB"] == "alice"
    assert found["VESSL_WORKSPACE_ID"] == kube.service.plan.workspace_id


async def test_an_operator_changes_every_pod(kube: KubernetesHub):
    def hook(spawner: Any, pod: Any) -> Any:
        pod.spec.runtime_class_name = "gvisor"
        pod.metadata.annotations["from"] = spawner.pod_name
        return pod

    kube.app.config.VesslKubernetesSpawner |= {
        "extra_labels": {"cost-center": "{username}"},
        "extra_pod_config": {"priority": None, "dnsPolicy": "Default"},
        "node_selector": {"pool": "users"},
        "tolerations": [{"key": "users", "operator": "Exists"}],
        "volumes": {"b": {"name": "corpus", "emptyDir": {}}},
        "volume_mounts": {"b": {"name": "corpus", "mountPath": "/corpus"}},
        "modify_pod_hook": hook,
        "uid": lambda spawner: 1234,
    }
    spawner = kube.alice().get_spawner("")
    kube.service.plan = kubernetes_plan()
    spawner._plan, spawner._admission_id = kube.service.plan, "a"
    session = spawner._open(kubernetes_objects.Place(context=CONTEXT, namespace="default", name=kube.pod))
    spawner.pod_name = kube.pod
    pod = await spawner._manifest(kube.service.plan, await pod_settings(spawner), session.cluster)
    assert pod["metadata"]["labels"]["cost-center"] == "alice"
    assert pod["metadata"]["annotations"]["from"] == kube.pod
    assert pod["spec"]["nodeSelector"] == {"pool": "users"}
    assert pod["spec"]["runtimeClassName"] == "gvisor"
    assert pod["spec"]["securityContext"]["runAsUser"] == 1234
    assert {"key": "users", "operator": "Exists"} in pod["spec"]["tolerations"]
    assert any(mount["mountPath"] == "/corpus" for mount in pod["spec"]["containers"][0]["volumeMounts"])


async def test_a_namespace_that_only_the_spawner_knows_of_starts_nothing(kube: KubernetesHub):
    """The service would look elsewhere, and take what runs for gone."""
    kube.app.config.VesslKubernetesSpawner.namespace = "elsewhere"
    kube.service.plan = kubernetes_plan(kubernetes=KubernetesPlan(context=CONTEXT))
    answer = await kube.start()
    assert answer.status_code >= 400
    assert "vessl.yaml" in answer.text
    assert kube.left() == []


async def test_a_workspace_cannot_be_renamed_and_a_removed_one_keeps_its_home(kube: KubernetesHub):
    await kube.start()
    spawner = kube.spawner()
    with pytest.raises(VesslSpawnRefused):
        await spawner.rename("", "other")
    await kube.stop()
    await spawner.delete_forever()
    assert kube.left() == ["persistentvolumeclaims"]


async def test_a_workspace_that_dies_of_memory_is_told_so_at_once(kube: KubernetesHub):
    await kube.start()
    state = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    own = {"name": "notebook", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    status = {"phase": "Failed", "containerStatuses": [own]}
    kube.api.patch("pods", "default", kube.pod, {"status": status}, subresource="status")
    await eventually(lambda: is_over(kube))
    assert ends(kube) == [(EndReason.OUT_OF_MEMORY, "it used more memory than its resource spec has")]
    await eventually(lambda: kube.left() == ["persistentvolumeclaims"])


# -- another hub, another cluster ---------------------------------------------


async def test_a_hub_that_is_started_anew_finds_the_pod_and_its_end(kube: KubernetesHub):
    await kube.start()
    state = json.loads(json.dumps(kube.spawner().get_state()))
    assert "user_options" not in json.dumps(state)
    other = kube.new_spawner({**state, "vessl_kubernetes": {**state["vessl_kubernetes"], "uid": "of-another-pod"}})
    assert await other.poll() == 1
    after = kube.new_spawner(state)
    assert await after.poll() is None
    kube.api.delete("pods", "default", kube.pod, grace_seconds=0)
    await eventually(lambda: the_pod(kube) is None)
    await eventually(lambda: after._session._gone)
    assert await after.poll() == 1
    assert after.get_state().get("vessl_kubernetes") is None


async def test_while_the_api_is_down_a_new_hub_takes_the_pod_for_running_and_then_learns_the_truth(
    kube: KubernetesHub,
):
    await kube.start()
    state = kube.spawner().get_state()
    await kube.api.go_down()
    await CLUSTERS.close()  # as a hub does that ends
    after = kube.new_spawner(state)
    assert await after.poll() is None
    await kube.api.come_back()
    assert await after._session.cluster.pods.first_list(10)
    assert await after.poll() is None
    await kube.api.go_down()
    await CLUSTERS.close()  # as a hub does that ends
    kube.api.delete("pods", "default", kube.pod, grace_seconds=0)
    later = kube.new_spawner(state)
    assert await later.poll() is None
    await kube.api.come_back()
    await eventually(lambda: later._session.cluster.pods.is_listed_since(float("-inf")))
    assert await later.poll() == 1


async def test_garbage_in_the_state_counts_as_nothing(kube: KubernetesHub):
    for garbage in ({"vessl_kubernetes": 3}, {"vessl_kubernetes": {"name": []}}, {"vessl": 3, "pod_name": "x"}):
        spawner = VesslKubernetesSpawner(user=kube.alice(), hub=kube.app.hub, config=kube.app.config)
        spawner.load_state(garbage)
        assert await spawner.poll() == 0
        await spawner.stop()


async def test_one_hub_starts_workspaces_on_several_clusters(
    hub_app: Any,
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
):
    async with StandIn(folder=tmp_path / "west", namespaces=["gpu"]) as west:
        contexts = {CONTEXT: kubernetes_api.url, "west": west.url}
        async with running_kubernetes_hub(hub_app, kubernetes_api, tmp_path, contexts=contexts) as kube:
            assert (await kube.start()).status_code == 201
            near, near_plan = kube.spawner(), kube.service.plan
            kube.service.plan = kubernetes_plan("f" * 32, kubernetes=KubernetesPlan(context="west", namespace="gpu"))
            assert (await kube.start(user="admin")).status_code == 201
            far = kube.spawner("admin")
            assert west.object("pods", "gpu", names.pod_name(kube.service.plan))
            await west.go_down()
            kubernetes_api.delete("pods", "default", names.pod_name(near_plan), grace_seconds=0)
            await eventually(lambda: kube.service.ended)
            assert await far.poll() is None
            assert near is not far
            await west.come_back()
            assert (await kube.stop(user="admin")).status_code == 204
            assert west.objects("pods") == []


# -- what is shown ------------------------------------------------------------


async def test_the_page_that_waits_is_told_in_plain_words(
    hub_app: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(kubernetes_session, "FIRST_EVENTS_SECONDS", 0.05)
    async with (
        StandIn(folder=tmp_path / "slow", ready_after_seconds=0.7) as api,
        running_kubernetes_hub(hub_app, api, tmp_path) as kube,
    ):
        spawner, seen = kube.alice().get_spawner(""), []

        async def watch() -> None:
            async for event in spawner.progress():
                seen.append((event["progress"], event["message"]))
                assert set(event) == {"progress", "message"}

        watching = asyncio.create_task(watch())
        await kube.start()
        watching.cancel()
        assert [message for _, message in seen] == [
            "Asking for admission",
            "Preparing its home",
            "Asking the cluster for a place",
            "A node prepares it",
            "Starting JupyterLab",
            "Waiting for it to answer",
            "It answers",
        ]
        assert [percent for percent, _ in seen] == sorted(percent for percent, _ in seen)


def test_every_setting_explains_itself_with_an_example():
    own = VesslKubernetesSpawner.class_own_traits(config=True)
    own = {name: trait for name, trait in own.items() if trait.this_class is VesslKubernetesSpawner}
    assert set(own) == {
        "kubeconfig",
        "node_silence_seconds",
        "pod_security",
        "shared_memory_bytes",
        "unschedulable_grace_seconds",
        "watch_retry_seconds_max",
        "watch_seconds",
        "writable_bytes",
    }
    for trait in own.values():
        assert "\n\n" in trait.help
        assert "Example: c.VesslKubernetesSpawner." in trait.help
