"""The small cluster behind the stand-in: scheduler, volumes, hollow pods and what happens to them."""

from __future__ import annotations

import asyncio

import pytest
from kubernetes_parts import Image, Node, StandIn, StorageClass

GPU = "nvidia.com/gpu"
TAINT = {"key": "gpu", "value": "true", "effect": "NoSchedule"}
NODES = [
    Node("cpu-1", cpu="4", memory="8Gi", extended={}, labels={"pool": "cpu"}),
    Node("gpu-1", cpu="16", memory="64Gi", extended={GPU: 2}, labels={"pool": "gpu"}, taints=[TAINT]),
]


def pod(name="x", limits=None, claim=None, **spec):
    container = {"name": "notebook", "image": "lab:1", "resources": {"limits": limits or {}}}
    spec = {"containers": [container], **spec}
    if claim:
        spec["volumes"] = [{"name": "home", "persistentVolumeClaim": {"claimName": claim}}]
        container["volumeMounts"] = [{"name": "home", "mountPath": "/home"}]
    return {"kind": "Pod", "metadata": {"name": name}, "spec": spec}


def claim(name="c", storage_class="standard", size="1Gi", **spec):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def messages(api, reason):
    return [event["message"] for event in api.objects("events") if event["reason"] == reason]


async def waiting_reason(api, reason, name="x"):
    path = "status.containerStatuses.0.state.waiting.reason"
    return await api.wait_for("pods", "default", name, path, reason)


@pytest.fixture
async def api(tmp_path):
    extra = {
        "private/lab:1": Image(pull="private", secret="regcred"),
        "root:1": Image(user_id=0),
    }
    classes = [
        StorageClass("standard", default=True),
        StorageClass("late", late=True),
        StorageClass("broken", broken="rpc error: code = ResourceExhausted desc = no space"),
        StorageClass("shared", access_modes=("ReadWriteMany",)),
    ]
    async with StandIn(nodes=NODES, storage_classes=classes, folder=tmp_path, images=extra, crash_seconds=0.05) as api:
        yield api


async def test_a_pod_runs_where_requests_taints_and_labels_allow(api):
    tolerations = [{"key": "gpu", "operator": "Exists"}]
    api.create(pod("a", {GPU: "2"}, tolerations=tolerations))
    api.create(pod("b", nodeSelector={"pool": "cpu"}))
    running = [await api.wait_for("pods", "default", name, "status.phase", "Running") for name in ("a", "b")]
    assert [one["spec"]["nodeName"] for one in running] == ["gpu-1", "cpu-1"]
    status = running[0]["status"]
    assert status["containerStatuses"][0]["ready"]
    assert {one["type"]: one["status"] for one in status["conditions"]}["Ready"] == "True"
    assert running[0]["status"]["podIP"] != running[1]["status"]["podIP"]
    assert status["podIP"].startswith("127.")
    reasons = [event["reason"] for event in api.objects("events") if event["involvedObject"]["name"] == "a"]
    assert sorted(reasons) == ["Created", "Pulled", "Scheduled", "Started"]


async def test_an_unschedulable_pod_is_told_why_and_runs_when_there_is_room(api):
    tolerations = [{"key": "gpu", "operator": "Exists"}]
    api.create(pod("first", {GPU: "2"}, tolerations=tolerations))
    await api.wait_for("pods", "default", "first", "status.phase", "Running")
    api.create(pod("second", {GPU: "1"}, tolerations=tolerations))
    api.create(pod("third", {"cpu": "5"}))
    waiting = await api.wait_for("pods", "default", "third", "status.conditions.0.reason", "Unschedulable")
    assert waiting["status"]["phase"] == "Pending"
    assert waiting["status"]["conditions"][0]["message"] == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {gpu: true}. "
        "no new claims to deallocate, preemption: 0/2 nodes are available: "
        "2 No preemption victims found for incoming pod."
    )
    assert any("2 Insufficient nvidia.com/gpu" in message for message in messages(api, "FailedScheduling"))
    api.delete("pods", "default", "first")
    await api.wait_for("pods", "default", "second", "status.phase", "Running")
    event = next(one for one in api.objects("events") if one["reason"] == "FailedScheduling")
    assert (event["lastTimestamp"], event["type"], event["involvedObject"]["kind"]) == (None, "Warning", "Pod")


async def test_a_container_that_is_done_leaves_the_pod_running_while_another_runs(api):
    both = [{"name": name, "image": "lab:1", "resources": {}} for name in ("notebook", "sidecar")]
    api.create(pod("x", containers=both, restartPolicy="OnFailure"))
    await api.wait_for("pods", "default", "x", "status.phase", "Running")
    api.exit_pod("default", "x", 0, others_run=True)
    status = api.object("pods", "default", "x")["status"]
    own, sidecar = status["containerStatuses"]
    assert (status["phase"], own["ready"], sidecar["ready"]) == ("Running", False, True)
    assert own["state"]["terminated"]["exitCode"] == 0
    assert "running" in sidecar["state"]
    api.delete("pods", "default", "x")
    await api.until(lambda: api.object("pods", "default", "x") is None)


async def test_claims_bind_at_once_late_or_never(api):
    api.create(claim("now"))
    api.create(claim("later", "late"))
    api.create(claim("never", "missing"))
    api.create(claim("broken", "broken"))
    api.create(claim("modes", "standard", accessModes=["ReadWriteMany"]))
    bound = await api.wait_for("persistentvolumeclaims", "default", "now", "status.phase", "Bound")
    assert bound["status"]["capacity"] == {"storage": "1Gi"}
    assert api.object("persistentvolumes", "", bound["spec"]["volumeName"])["spec"]["claimRef"]["name"] == "now"
    failed = await api.until(lambda: messages(api, "ProvisioningFailed"))
    assert 'storageclass.storage.k8s.io "missing" not found' in failed
    assert len(failed) == 3
    for name in ("later", "never", "broken", "modes"):
        assert api.object("persistentvolumeclaims", "default", name)["status"]["phase"] == "Pending"
    api.create(pod("x", claim="later"))
    await api.wait_for("pods", "default", "x", "status.phase", "Running")
    api.create(pod("y", claim="never"))
    api.create(pod("z", claim="unknown"))
    path = "status.conditions.0.message"
    end = "no new claims to deallocate, preemption: 0/2 nodes are available: "
    end += "2 Preemption is not helpful for scheduling."
    why = f"0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. {end}"
    await api.wait_for("pods", "default", "y", path, why)
    why = f'0/2 nodes are available: persistentvolumeclaim "unknown" not found. {end}'
    await api.wait_for("pods", "default", "z", path, why)


async def test_a_static_volume_is_adopted_by_name_and_kept_and_a_claim_grows(api):
    spec = {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteMany"], "nfs": {"server": "s", "path": "/x"}}
    spec |= {"storageClassName": ""}
    api.create({"kind": "PersistentVolume", "metadata": {"name": "data"}, "spec": spec})
    await api.wait_for("persistentvolumes", "", "data", "status.phase", "Available")
    api.create(claim("c", "", volumeName="data", accessModes=["ReadWriteMany"]))
    bound = await api.wait_for("persistentvolumeclaims", "default", "c", "status.phase", "Bound")
    assert bound["status"]["capacity"] == {"storage": "5Gi"}
    (api.claim_folder("default", "c") / "kept").write_text("data")
    api.delete("persistentvolumeclaims", "default", "c")
    await api.wait_for("persistentvolumes", "", "data", "status.phase", "Released")

    api.create(claim("d"))
    await api.wait_for("persistentvolumeclaims", "default", "d", "status.phase", "Bound")
    folder = api.claim_folder("default", "d")
    api.patch("persistentvolumeclaims", "default", "d", {"spec": {"resources": {"requests": {"storage": "3Gi"}}}})
    grown = await api.wait_for("persistentvolumeclaims", "default", "d", "status.capacity.storage", "3Gi")
    api.delete("persistentvolumes", "", grown["spec"]["volumeName"])
    assert api.object("persistentvolumes", "", grown["spec"]["volumeName"]), "bound volumes are protected"
    api.delete("persistentvolumeclaims", "default", "d")
    await api.until(lambda: not folder.exists())


async def test_a_claim_in_use_stays_until_its_pod_is_gone(api):
    api.create(claim())
    api.create(pod(claim="c"))
    await api.wait_for("pods", "default", "x", "status.phase", "Running")
    api.delete("persistentvolumeclaims", "default", "c")
    assert api.object("persistentvolumeclaims", "default", "c")["metadata"]["deletionTimestamp"]
    api.create(pod("late", claim="c"))
    waiting = await api.wait_for("pods", "default", "late", "status.conditions.0.reason", "Unschedulable")
    assert 'persistentvolumeclaim "c" is being deleted' in waiting["status"]["conditions"][0]["message"]
    assert api.object("persistentvolumeclaims", "default", "c")
    api.delete("pods", "default", "x")
    await api.wait_for("persistentvolumeclaims", "default", "c")


async def test_images_that_cannot_be_pulled(api):
    missing, private = pod("x"), pod("y")
    missing["spec"]["containers"][0]["image"] = "example.com/missing:2"
    private["spec"] |= {"imagePullSecrets": [{"name": "regcred"}]}
    private["spec"]["containers"][0]["image"] = "private/lab:1"
    api.create(missing)
    api.create(private)
    stuck = await waiting_reason(api, "ImagePullBackOff")
    assert stuck["status"]["phase"] == "Pending"
    failed = messages(api, "Failed")
    start = 'Failed to pull image "example.com/missing:2": rpc error: code = NotFound desc = failed to pull and unpack'
    assert any(message.startswith(start) for message in failed)
    assert {"Error: ErrImagePull", "Error: ImagePullBackOff"} <= set(failed)
    await waiting_reason(api, "ImagePullBackOff", "y")
    api.create({"kind": "Secret", "metadata": {"name": "regcred"}, "stringData": {"a": "b"}})
    await api.wait_for("pods", "default", "y", "status.phase", "Running")


async def test_a_container_that_must_not_be_root_or_lacks_a_secret_does_not_start(api):
    root = pod("x", securityContext={"runAsNonRoot": True})
    root["spec"]["containers"][0]["image"] = "root:1"
    secret = pod("y")
    source = {"secretKeyRef": {"name": "token", "key": "k"}}
    secret["spec"]["containers"][0]["env"] = [{"name": "TOKEN", "valueFrom": source}]
    api.create(root)
    api.create(secret)
    for name in ("x", "y"):
        await waiting_reason(api, "CreateContainerConfigError", name)
    assert 'Error: secret "token" not found' in messages(api, "Failed")


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 3, "Failed"), ("OnFailure", 0, "Succeeded"), ("OnFailure", 3, None)],
)
async def test_what_follows_the_end_of_a_container(api, policy, code, phase):
    api.create(pod(restartPolicy=policy))
    await api.wait_for("pods", "default", "x", "status.phase", "Running")
    api.exit_pod("default", "x", code)
    if phase:
        ended = await api.wait_for("pods", "default", "x", "status.phase", phase)
        state = ended["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (state["exitCode"], state["reason"]) == (code, "Error" if code else "Completed")
        return
    path = "status.containerStatuses.0.restartCount"
    again = await api.wait_for("pods", "default", "x", path, 1)
    assert again["status"]["phase"] == "Running"
    api.exit_pod("default", "x", code)
    crashed = await waiting_reason(api, "CrashLoopBackOff")
    assert crashed["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == code
    await api.wait_for("pods", "default", "x", "status.containerStatuses.0.ready", True)


async def test_memory_eviction_and_a_lost_node(api):
    for name in ("x", "y", "z"):
        api.create(pod(name, restartPolicy="OnFailure", nodeSelector={"pool": "cpu"}))
        await api.wait_for("pods", "default", name, "status.phase", "Running")
    api.oom_kill("default", "x")
    restarted = await api.wait_for("pods", "default", "x", "status.containerStatuses.0.restartCount", 1)
    last = restarted["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)
    api.evict("default", "y")
    evicted = api.object("pods", "default", "y")["status"]
    assert (evicted["phase"], evicted["reason"]) == ("Failed", "Evicted")
    assert evicted["message"].startswith("The node was low on resource: ephemeral-storage.")
    api.lose_node("cpu-1")
    lost = api.object("pods", "default", "z")
    assert lost["metadata"]["deletionTimestamp"]
    assert lost["status"]["reason"] == "NodeLost"
    assert {one["type"]: one["status"] for one in lost["status"]["conditions"]}["Ready"] == "False"
    node = api.object("nodes", "", "cpu-1")
    assert node["status"]["conditions"][0]["status"] == "Unknown"
    await asyncio.sleep(0.05)
    assert api.object("pods", "default", "z"), "nobody is there who could end it"
    api.restore_node("cpu-1")
    await api.wait_for("pods", "default", "z")
    api.delete("nodes", "", "cpu-1")
    await api.wait_for("pods", "default", "x")


async def test_a_namespace_takes_its_content_along_and_a_quota_counts(api):
    api.add_namespace("lab")
    api.set_quota("lab", {"pods": "5"})
    api.create({**pod(), "metadata": {"name": "x", "namespace": "lab"}})
    await api.wait_for("resourcequotas", "lab", "quota", "status.used.pods", "1")
    api.delete("namespaces", "", "lab")
    await api.wait_for("namespaces", "", "lab")
    assert not api.objects("pods", "lab")


async def test_ten_thousand_pods_are_there_in_no_time_and_one_by_one_deletable(api):
    names = api.seed_pods(10_000, labels={"component": "singleuser-server"})
    assert len(api.objects("pods", labels="component=singleuser-server")) == 10_000
    api.delete("pods", "default", names[5000])
    await api.wait_for("pods", "default", names[5000])
