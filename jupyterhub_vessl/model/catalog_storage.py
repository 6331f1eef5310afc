"""Storage in the offer: what each kind costs, where it is mounted, and the volumes that an admin declares."""

from __future__ import annotations

from enum import Enum

from pydantic import Field

from .catalog_base import MountPath, Name, Part, Price, Size, Title
from .catalog_kubernetes import ClaimClass, ObjectClaimClass, ObjectName
from .money import MONTH_HOURS, divide_half_even
from .units import GIB


class Access(str, Enum):
    """What a team may do with a volume."""

    READ_WRITE = "rw"
    READ_ONLY = "ro"


class WorkspaceStorage(Part):
    """The workspace volume: the home directory of one workspace; survives pause, dies with termination."""

    size_bytes: Size = Field(default=20 * GIB, alias="size")
    mount_path: MountPath = "/home/jovyan"
    month_micros_per_gib: Price = Field(default=0, alias="price_per_gib_month")
    kubernetes: ClaimClass = ClaimClass()


class TemporaryStorage(Part):
    """Scratch space of the size that the resource spec gives; wiped at every stop."""

    mount_path: MountPath = "/scratch"


class ClusterVolume(Part):
    """A volume on one cluster that teams share; survives termination."""

    title: Title | None = None
    cluster: Name
    size_bytes: Size = Field(alias="size")
    teams: dict[Name, Access] = Field(min_length=1)
    mount_path: MountPath | None = None
    claim: ObjectName | None = None
    """An existing claim to use instead of making one; it is never deleted by us."""


class ClusterStorage(Part):
    """Cluster storage: volumes that admins declare, billed for their size until they are taken out.

    The price is per provisioned GiB and month of 730 hours; the default is the product's (seed 001).
    """

    month_micros_per_gib: Price = Field(default=200_000, alias="price_per_gib_month")
    kubernetes: ClaimClass = ClaimClass()
    volumes: dict[Name, ClusterVolume] = {}


class ObjectVolume(Part):
    """A volume that every cluster can mount; never at the home directory."""

    title: Title | None = None
    size_bytes: Size = Field(alias="size")
    teams: dict[Name, Access] = Field(min_length=1)
    mount_path: MountPath | None = None


class ObjectStorage(Part):
    """Object storage and where it is mounted by default."""

    mount_path: MountPath = "/shared"
    month_micros_per_gib: Price = Field(default=0, alias="price_per_gib_month")
    kubernetes: ObjectClaimClass | None = None
    volumes: dict[Name, ObjectVolume] = {}


class Storage(Part):
    """Everything about volumes."""

    workspace: WorkspaceStorage = WorkspaceStorage()
    temporary: TemporaryStorage = TemporaryStorage()
    cluster: ClusterStorage = ClusterStorage()
    object: ObjectStorage = ObjectStorage()


def hour_rate_of_storage(month_micros_per_gib: int, size_bytes: int) -> int:
    """Micro-credits per hour of a provisioned volume; a month has 730 hours (seed 001 gives the monthly price)."""
    return divide_half_even(month_micros_per_gib * size_bytes, GIB * MONTH_HOURS)
