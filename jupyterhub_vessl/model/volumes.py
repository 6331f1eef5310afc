"""Volumes that people share: cluster and object storage as the storage registry knows them.  Pure.

Who may make, change, use and delete one follows the product's storage rules (seed 001): cluster storage is made
by admins and bound to one cluster; object storage is made by any member for the own teams and is there on every
cluster; sizes grow and never shrink; what is mounted is not deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from pydantic import BaseModel, ConfigDict

from .catalog import ClusterKind, Offer
from .catalog_storage import Access, ClusterVolume
from .choosing import open_to


class VolumeKind(str, Enum):
    """The kinds of storage that outlive a workspace."""

    CLUSTER = "cluster"
    OBJECT = "object"


class VolumeState(str, Enum):
    """Where a volume is.

    ``pending`` it is being made, or waits for its first use; ``bound`` it can be used; ``lost`` its cluster no
    longer has it; ``deleting`` it is going away.
    """

    PENDING = "pending"
    BOUND = "bound"
    LOST = "lost"
    DELETING = "deleting"


class Backing(str, Enum):
    """What a volume was made of on Kubernetes, for as long as it lives: a storage class, or object storage proper."""

    CLASS = "class"
    NFS = "nfs"
    S3 = "s3"


def backing_of(offer: Offer, kind: VolumeKind) -> Backing:
    """What a volume of a kind is made of when it is made now."""
    classes = offer.storage.object.kubernetes
    if kind is VolumeKind.CLUSTER or classes is None or classes.storage_class is not None:
        return Backing.CLASS
    return Backing.NFS if classes.nfs is not None else Backing.S3


class Volume(BaseModel):
    """One volume of an organization.

    Attributes
    ----------
    id
        Made once, never used again; names what backs it.
    name
        Unique in the organization among living volumes.
    cluster
        Where it is; empty for object storage, which every cluster can mount.
    teams
        Who may mount it, and how.  The first that may write pays for it.
    claim
        What backs it on Kubernetes.  ``adopted``: it was there before and is left alone at deletion.
    declared
        It comes from vessl.yaml and is changed and deleted there.
    reason
        Why it is in its state, as a sentence; empty when there is nothing to say.
    backing
        What it was made of; vessl.yaml may name something else by now, which holds for new volumes only.
    seen_on
        Clusters that have had it.  What is missing there is lost; where it has never been it is made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    organization: str
    name: str
    title: str
    kind: VolumeKind
    cluster: str = ""
    size_bytes: int
    teams: dict[str, Access]
    mount_path: str
    claim: str
    adopted: bool = False
    declared: bool = False
    created_by: str = ""
    created_ms: int = 0
    state: VolumeState = VolumeState.PENDING
    reason: str = ""
    backing: Backing = Backing.CLASS
    seen_on: tuple[str, ...] = ()

    def access(self, team: str) -> Access | None:
        """What a team may do with it; None when it may not even know of it."""
        return self.teams.get(team)

    @property
    def paying_team(self) -> str:
        """The team that its cost is booked on: the first that may write to it, else the first."""
        writing = [team for team, access in self.teams.items() if access is Access.READ_WRITE]
        return next(iter([*writing, *self.teams]), "")

    @property
    def item(self) -> str:
        """What its spans call it in the ledger, such as ``cluster/datasets``."""
        return f"{self.kind.value}/{self.name}"


Volumes = Mapping[tuple[str, str], Volume]
"""Living volumes by (organization, name)."""


def places_of(offer: Offer, volume: Volume) -> tuple[str, ...]:
    """Clusters on which a volume is to be: its own, or those that the teams of object storage may use.

    A volume that is being deleted may have been on any.
    """
    if volume.kind is VolumeKind.CLUSTER:
        return (volume.cluster,)
    deleting = volume.state is VolumeState.DELETING or not volume.teams
    return tuple(
        name
        for name, cluster in offer.clusters.items()
        if cluster.kind in (ClusterKind.KUBERNETES, ClusterKind.LOCAL)
        and (deleting or any(open_to(cluster.teams, team) for team in volume.teams))
    )


def declared_volumes(offer: Offer) -> Iterator[Volume]:
    """The volumes of vessl.yaml: one for every organization with a team that may use it; without an id yet.

    Cluster storage is mounted at ``/NAME`` and object storage at ``NAME`` in its common folder, unless the offer
    says where.
    """
    kinds = (
        (VolumeKind.CLUSTER, offer.storage.cluster.volumes, ""),
        (VolumeKind.OBJECT, offer.storage.object.volumes, offer.storage.object.mount_path),
    )
    for organization, body in offer.organizations.items():
        for kind, volumes, folder in kinds:
            for name, volume in volumes.items():
                teams = {team: access for team, access in volume.teams.items() if team in body.teams}
                if not teams:
                    continue
                cluster, claim = (volume.cluster, volume.claim) if isinstance(volume, ClusterVolume) else ("", None)
                yield Volume(
                    id="",
                    organization=organization,
                    name=name,
                    title=volume.title or name,
                    kind=kind,
                    cluster=cluster,
                    size_bytes=volume.size_bytes,
                    teams=teams,
                    mount_path=volume.mount_path or f"{folder}/{name}",
                    claim=claim or "",
                    adopted=bool(claim),
                    declared=True,
                    created_by="vessl.yaml",
                    backing=backing_of(offer, kind),
                )


class FoundVolume(BaseModel):
    """A claim or folder that a cluster has: what is true there, whatever the registry says.

    Attributes
    ----------
    size_bytes
        How large it is; 0 where nothing measures that, as for a folder.
    requested_bytes
        How large it is to be: more than it has while it grows; 0 where nobody can ask for that.
    reason
        Why it is not bound, in plain words.
    volume_id, workspace_id
        What its label says that it belongs to; empty when it has none.
    uid
        Given by the cluster to this very object, and never again; empty where there is no such thing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: str
    state: VolumeState
    size_bytes: int = 0
    reason: str = ""
    volume_id: str = ""
    workspace_id: str = ""
    requested_bytes: int = 0
    uid: str = ""

    @property
    def promised_bytes(self) -> int:
        """How large it is, or will be with what its cluster has accepted already."""
        return max(self.size_bytes, self.requested_bytes)
