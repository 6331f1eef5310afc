"""What tests of the service's hands on Kubernetes share: adapters for stand-ins, objects as the spawner makes them."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid

from kubernetes_parts import write_kubeconfig

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.catalog import Cluster, ClusterKind
from jupyterhub_vessl.model.catalog_storage import Storage
from jupyterhub_vessl.model.plan import Mount, MountKind, PlannedSpec, WorkspacePlan
from jupyterhub_vessl.model.units import GIB
from jupyterhub_vessl.model.volumes import Volume
from jupyterhub_vessl.service.clusters import kubernetes_api, kubernetes_capacity, kubernetes_watch
from jupyterhub_vessl.service.clusters.kubernetes import KubernetesCluster

ID = "0123456789abcdef0123456789abcdef"


def hurry(monkeypatch):
    """What takes seconds takes fractions of them."""
    monkeypatch.setattr(kubernetes_watch, "WATCH_SECONDS", 1)
    monkeypatch.setattr(kubernetes_watch, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_watch, "STALE_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_watch, "FIRST_SECONDS", 1.5)
    monkeypatch.setattr(kubernetes_watch, "PAUSE_SECONDS_MAX", 0.5)
    monkeypatch.setattr(kubernetes_api, "CALL_SECONDS", 0.6)
    monkeypatch.setattr(kubernetes_api, "BUSY_SECONDS_MAX", 0.05)
    monkeypatch.setattr(kubernetes_capacity, "UNREACHABLE_SECONDS", 0.05)


@contextlib.asynccontextmanager
async def adapter(folder, monkeypatch, api, *, name="main", token="", gpus=frozenset({"nvidia.com/gpu"}), **said):
    """The adapter of one cluster of an offer, which lets itself in with a kubeconfig."""
    storage = Storage.model_validate(said.pop("storage", {}))
    tokens = {name: token} if token else None
    file = write_kubeconfig(folder / f"kubeconfig-{name}-{uuid.uuid4().hex}", {name: api.url}, tokens=tokens)
    monkeypatch.setenv("KUBECONFIG", str(file))
    cluster = Cluster(kind=ClusterKind.KUBERNETES, context=name, **{"namespace": "default", **said})
    made = KubernetesCluster(name, cluster, storage, gpu_resources=gpus)
    await made._api._identity.access()  # read now: the next adapter has another kubeconfig
    monkeypatch.setattr(made._api._identity, "_read", lambda afresh, entries=made._api._identity._entries: entries)
    try:
        yield made
    finally:
        await made.close()


def pod(workspace_id=ID, *, cluster="main", claims=(), **labels):
    """A pod as the spawner makes it, as far as the service looks at it."""
    known = {names.MANAGED: names.MANAGER, names.CLUSTER: cluster, names.WORKSPACE: workspace_id, **labels}
    volumes = [{"name": f"v{n}", "persistentVolumeClaim": {"claimName": claim}} for n, claim in enumerate(claims)]
    mounts = [{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in volumes]
    container = {"name": "notebook", "image": "example/lab:1", "volumeMounts": mounts}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"vessl-mia-{workspace_id}", "labels": known},
        "spec": {
            "containers": [container],
            "volumes": volumes,
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": 1,
        },
    }


def home(workspace_id=ID, *, size="20Gi", storage_class="standard", **labels):
    """The claim of a workspace volume as the spawner makes it."""
    known = {names.MANAGED: names.MANAGER, names.WORKSPACE: workspace_id, **labels}
    return claim(names.home_claim(workspace_id), size=size, storage_class=storage_class, mode="ReadWriteOnce", **known)


def claim(name, *, size="20Gi", storage_class="shared", mode="ReadWriteMany", **labels):
    """Any claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "accessModes": [mode],
            "resources": {"requests": {"storage": size}},
            "storageClassName": storage_class,
        },
    }


def volume(volume_id=ID, **said):
    """A volume of the registry: cluster storage of 100 GiB unless it says something else."""
    known = {
        "id": volume_id,
        "organization": "acme",
        "name": "datasets",
        "title": "Datasets",
        "kind": "cluster",
        "cluster": "main",
        "size_bytes": 100 * GIB,
        "teams": {"vision": "rw"},
        "mount_path": "/datasets",
        "claim": names.volume_claim(volume_id),
    }
    return Volume.model_validate(known | said)


def plan(workspace_id=ID, *, size_bytes=20 * GIB):
    """A plan, as far as volumes are concerned."""
    spec = PlannedSpec(name="s", title="S", cpu_millis=1000, memory_bytes=GIB, temporary_bytes=GIB)
    return WorkspacePlan(
        workspace_id=workspace_id,
        user="mia",
        server_name="",
        title="Mine",
        organization="acme",
        team="vision",
        currency="USD",
        cluster="main",
        cluster_kind=ClusterKind.KUBERNETES,
        spec=spec,
        image="lab",
        image_title="Lab",
        mounts=(Mount(kind=MountKind.WORKSPACE, mount_path="/home/jovyan", size_bytes=size_bytes),),
        rate_micros_per_hour=0,
    )


async def eventually(look, wanted=None, *, seconds=10):
    """Ask again and again, until the answer is the wanted one, or true."""
    until = time.monotonic() + seconds
    while True:
        found = await look()
        if found == wanted if wanted is not None else found:
            return found
        assert time.monotonic() < until, f"it stays {found!r}"
        await asyncio.sleep(0.02)
