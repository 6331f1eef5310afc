"""Which volumes a workspace mounts, where, and what they cost.  Pure; the rules are the product's (seed 001)."""

from __future__ import annotations

from collections.abc import Mapping

from .catalog import ClusterKind, Offer, ResourceSpec
from .catalog_storage import Access, hour_rate_of_storage
from .errors import BadInput
from .paths import is_at_or_below
from .plan import Mount, MountKind
from .volumes import Backing, Volume, VolumeKind, Volumes, VolumeState


def _resolve_mount(
    name: str, path: str, offer: Offer, organization: str, team: str, cluster: str, volumes: Volumes
) -> Mount:
    volume = volumes.get((organization, name))
    access = volume.access(team) if volume is not None else None
    if volume is None or access is None:
        raise BadInput(f"Team {team} has no volume {name!r}.", hint="Choose one from the list.", field="storage")
    home = offer.storage.workspace.mount_path
    if volume.state in (VolumeState.LOST, VolumeState.DELETING):
        why = "is being deleted" if volume.state is VolumeState.DELETING else "is lost: its cluster has it no more"
        raise BadInput(f"Volume {name} {why}.", hint="Start without it, or ask an admin.", field="storage")
    if volume.adopted and not volume.declared and volume.state is not VolumeState.BOUND:
        # its cluster has yet to say that the claim is one for people to mount
        why = f": {volume.reason.rstrip('.')}" if volume.reason else ""
        raise BadInput(f"Volume {name} cannot be mounted yet{why}.", hint="Start without it.", field="storage")
    if volume.kind is VolumeKind.CLUSTER and volume.cluster != cluster:
        raise BadInput(
            f"Volume {name} is on cluster {volume.cluster} and cannot be mounted on {cluster}.",
            field="storage",
        )
    if path == home:
        raise BadInput(f"{home} holds the workspace volume; mount {name} elsewhere, such as /data.", field="storage")
    if volume.kind is VolumeKind.OBJECT and is_at_or_below(path, home):
        raise BadInput(
            f"Object storage is too slow for a home directory; mount {name} outside {home}, such as /shared.",
            field="storage",
        )
    return Mount(
        kind=MountKind(volume.kind.value),
        volume=name,
        mount_path=path,
        size_bytes=volume.size_bytes,
        read_only=access is Access.READ_ONLY,
        organization=organization,
        claim=_claim(volume, offer, cluster),
        sub_path=sub_path(volume),
    )


def _claim(volume: Volume, offer: Offer, cluster: str) -> str:
    """What backs a volume on a cluster; empty where a folder with its name does, as on a machine of one's own."""
    local = offer.clusters[cluster].kind is ClusterKind.LOCAL
    return "" if local and volume.declared else volume.claim


def sub_path(volume: Volume) -> str:
    """The folder of its claim that a volume is: object storage on one NFS export shares it with others."""
    if volume.backing is Backing.NFS and not volume.adopted:
        return f"{volume.organization}/{volume.id}"
    return ""


def resolve_mounts(
    wanted: Mapping[str, str],
    offer: Offer,
    organization: str,
    team: str,
    cluster: str,
    spec: ResourceSpec,
    volumes: Volumes,
) -> tuple[Mount, ...]:
    home, temporary = offer.storage.workspace, offer.storage.temporary
    mounts = [
        Mount(
            kind=MountKind.WORKSPACE,
            mount_path=home.mount_path,
            size_bytes=home.size_bytes,
            rate_micros_per_hour=hour_rate_of_storage(home.month_micros_per_gib, home.size_bytes),
        ),
        *(_resolve_mount(name, path, offer, organization, team, cluster, volumes) for name, path in wanted.items()),
        Mount(kind=MountKind.TEMPORARY, mount_path=temporary.mount_path, size_bytes=spec.temporary_bytes),
    ]
    seen: dict[str, Mount] = {}
    for mount in mounts:
        if mount.mount_path in seen:
            raise BadInput(f"Two volumes cannot share the mount path {mount.mount_path}.", field="storage")
        for other in seen.values():
            inside = is_at_or_below(mount.mount_path, other.mount_path)
            if (inside and other.kind is not MountKind.WORKSPACE) or is_at_or_below(other.mount_path, mount.mount_path):
                raise BadInput(
                    f"{mount.mount_path} and {other.mount_path} overlap; mount one beside the other.",
                    field="storage",
                )
        seen[mount.mount_path] = mount
    return tuple(mounts)
