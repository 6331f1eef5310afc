"""Plans to draw, and what is drawn of them with plain settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub_parts import make_plan
from jupyterhub_vessl_spawner.kubernetes_render import (
    render_pod,
)
from jupyterhub_vessl_spawner.kubernetes_settings import PodSettings
from kubernetes_parts.pod_security import ENFORCE

from jupyterhub_vessl.model.catalog import ClusterKind
from jupyterhub_vessl.model.catalog_kubernetes import Toleration
from jupyterhub_vessl.model.plan import KubernetesPlan, Mount, MountKind, PlannedSpec, WorkspacePlan

GIB = 1 << 30
ID = "0123456789abcdef0123456789abcdef"
SETTINGS = PodSettings(image="quay.io/jupyter/base-notebook:2026-10-20")
RESTRICTED = {"metadata": {"labels": {ENFORCE: "restricted"}}}
GPU = PlannedSpec(
    name="h100-2",
    title="H100 × 2",
    gpu_type="H100",
    gpu_count=2,
    cpu_millis=24_000,
    memory_bytes=240 * GIB,
    temporary_bytes=500 * GIB,
)
PLACE = KubernetesPlan(
    namespace="lab",
    tcp_service="NodePort",
    node_selector={"nvidia.com/gpu.product": "H100"},
    node_names=("gpu-1", "gpu-2.acme.example"),
    tolerations=(Toleration(key="gpu"), Toleration(key="team", operator="Equal", value="vision", effect="NoExecute")),
    storage_class="fast",
    pull_policy="Always",
    pull_secret="acme-registry",
)


def shared(path: str, claim: str = "vessl-volume-1", kind: MountKind = MountKind.CLUSTER, **changes: Any) -> Mount:
    return Mount(**{"kind": kind, "volume": "v", "mount_path": path, "size_bytes": GIB, "claim": claim, **changes})


def kubernetes_plan(*more: Mount, **changes: Any) -> WorkspacePlan:
    fields: dict[str, Any] = {"kubernetes": KubernetesPlan(), "cluster_kind": ClusterKind.KUBERNETES, "cluster": "main"}
    fields["mounts"] = (*make_plan().mounts, *more)
    return make_plan(**{"workspace_id": ID, **fields, **changes})


def draw(plan: WorkspacePlan, settings: PodSettings = SETTINGS, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"environment": plan.environment, "command": ["jupyterhub-singleuser"], "port": 8888}
    return render_pod(plan, settings=settings, **{**arguments, **changes})


def variables(pod: Mapping[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in pod["spec"]["containers"][0]["env"]}
