"""The volumes of a plan, as a pod has them.  Pure.

The workspace volume and shared volumes are claims; temporary storage and ``/dev/shm`` are empty folders that go away
with the pod.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.errors import BadInput, Unavailable
from jupyterhub_vessl.model.paths import is_at_or_below
from jupyterhub_vessl.model.plan import Mount, MountKind, WorkspacePlan

from .kubernetes_settings import VOLUME_PREFIX, PodSettings

Json = dict[str, Any]

_SHARED = (MountKind.CLUSTER, MountKind.OBJECT)
_UNITS = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def volumes(plan: WorkspacePlan, settings: PodSettings) -> Iterator[Json]:
    """What a pod mounts: one volume for each claim, and the temporary ones."""
    for claim, (name, read_only) in _claims(plan).items():
        yield {"name": name, "persistentVolumeClaim": {"claimName": claim, **_if_read_only(read_only)}}
    temporary = next((mount for mount in plan.mounts if mount.kind is MountKind.TEMPORARY), None)
    if temporary is not None:
        yield {"name": f"{VOLUME_PREFIX}temporary", "emptyDir": {"sizeLimit": byte_quantity(temporary.size_bytes)}}
    shared_bytes = _shared_memory_bytes(plan, settings)
    if shared_bytes:
        memory = {"medium": "Memory", "sizeLimit": byte_quantity(shared_bytes)}
        yield {"name": f"{VOLUME_PREFIX}shared-memory", "emptyDir": memory}


def volume_mounts(plan: WorkspacePlan, settings: PodSettings) -> Iterator[Json]:
    """Outer folders first, so that none hides another."""
    claims = _claims(plan)
    for mount in sorted(plan.mounts, key=lambda m: m.mount_path.count("/")):
        if mount.kind is MountKind.TEMPORARY:
            yield {"name": f"{VOLUME_PREFIX}temporary", "mountPath": mount.mount_path}
            continue
        claim = mount.claim if mount.kind in _SHARED else names.home_claim(plan.workspace_id)
        found = {"name": claims[claim][0], "mountPath": mount.mount_path, **_if_read_only(mount.read_only)}
        yield found | ({"subPath": mount.sub_path} if mount.sub_path else {})
    if _shared_memory_bytes(plan, settings):
        yield {"name": f"{VOLUME_PREFIX}shared-memory", "mountPath": "/dev/shm"}  # noqa: S108  the pod's own


def refuse_taken_paths(plan: WorkspacePlan, settings: PodSettings) -> None:
    """A person cannot hide what the operator mounts into every workspace, nor mount inside of it."""
    for mount in plan.mounts:
        for path in settings.mounted_paths() if mount.kind in _SHARED else ():
            if is_at_or_below(mount.mount_path, path) or is_at_or_below(path, mount.mount_path):
                raise BadInput(f"{mount.mount_path} is taken on this cluster; choose another path.", field="storage")


def byte_quantity(size_bytes: int) -> str:
    """A size as Kubernetes writes it, exactly: ``16Gi``, or the bytes where no unit divides them."""
    unit = ""
    for larger in _UNITS:
        if size_bytes % 1024 or not size_bytes:
            break
        size_bytes, unit = size_bytes // 1024, larger
    return f"{size_bytes}{unit}"


def _claims(plan: WorkspacePlan) -> dict[str, tuple[str, bool]]:
    """(name in the pod, whether the whole volume is read-only) by claim.

    A claim is one volume however often it is mounted: of two that share a claim, kubelet waits for one for ever.
    One of which a folder is mounted can be written as a whole, for kubelet makes the folder where it is not there yet.
    """
    home = names.home_claim(plan.workspace_id)
    claims = {home: (f"{VOLUME_PREFIX}home", False)}
    shared = [mount for mount in plan.mounts if mount.kind in _SHARED]
    for mount in shared:
        if mount.claim in ("", home):
            raise _not_made(mount)
        if mount.claim not in claims:
            same = [other for other in shared if other.claim == mount.claim]
            read_only = all(other.read_only and not other.sub_path for other in same)
            claims[mount.claim] = (f"{VOLUME_PREFIX}volume-{len(claims)}", read_only)
    return claims


def _not_made(mount: Mount) -> Unavailable:
    return Unavailable(
        f"Volume {mount.volume} has not been made on this cluster yet.",
        hint="Start without it, or try again in a minute.",
        field="storage",
    )


def _shared_memory_bytes(plan: WorkspacePlan, settings: PodSettings) -> int:
    """The size of ``/dev/shm``, half of the memory unless an operator says otherwise.

    What is in it counts as the container's memory, and stays there when the container is started again: with half
    of it, there is room to.
    """
    size_bytes = settings.shared_memory_bytes
    return plan.spec.memory_bytes // 2 if size_bytes is None else size_bytes


def _if_read_only(read_only: bool) -> Json:
    return {"readOnly": True} if read_only else {}
