"""What a cluster can hold, and why something in the offer cannot be chosen there.

An obstacle is a short phrase that completes "not available: …"; an empty string means available.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from .catalog import ClusterKind, Image, ResourceSpec
from .units import format_bytes, format_cpu


class Capacity(BaseModel):
    """The largest workspace that a cluster can hold at all, not what is free at the moment.

    ``gpus`` counts devices by type, the type in capitals as in ``H100``; None when nobody may look.
    ``reachable`` is False for a cluster that this installation has no hands for, or that does not answer;
    ``why`` says so in a phrase.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reachable: bool = True
    why: str = ""
    cpu_millis: int | None = None
    memory_bytes: int | None = None
    gpus: dict[str, int] | None = {}


def spec_obstacle(spec: ResourceSpec, cluster: str, kind: ClusterKind, capacity: Capacity) -> str:
    """Why a resource spec cannot be chosen on a cluster, or an empty string."""
    if spec.clusters is not None and cluster not in spec.clusters:
        return "not on this cluster"
    if not capacity.reachable:
        return capacity.why or "this cluster cannot be reached"
    place = "this machine" if kind is ClusterKind.LOCAL else "this cluster"
    if spec.gpu is not None and capacity.gpus is not None:
        have = capacity.gpus.get(spec.gpu.type.upper(), 0)
        if have < spec.gpu.count:
            found = f"has {have} × {spec.gpu.type}" if have else f"has no {spec.gpu.type} GPU"
            return f"{place} {found}"
    if capacity.cpu_millis is not None and spec.cpu_millis > capacity.cpu_millis:
        return f"{place} has {format_cpu(capacity.cpu_millis)}"
    if capacity.memory_bytes is not None and spec.memory_bytes > capacity.memory_bytes:
        return f"{place} has {format_bytes(capacity.memory_bytes)} of memory"
    return ""


def image_obstacle(image: Image, kind: ClusterKind) -> str:
    """Why an image cannot be chosen on a kind of cluster, or an empty string."""
    if kind is ClusterKind.LOCAL and image.url is not None:
        return "container images need a Kubernetes or Slurm cluster"
    if kind is not ClusterKind.LOCAL and image.url is None:
        return "it has no container image"
    return ""
