"""What travels over the REST API about the storage registry.

Sizes go out as they were typed (``"100Gi"``), as everywhere: the service alone decides what is a size.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from .catalog_base import Name, Size
from .catalog_kubernetes import ObjectName
from .catalog_storage import Access
from .text import check_plain_text
from .volumes import VolumeKind, VolumeState
from .wire_base import NAME_CHARACTERS_MAX, Inbound, Outbound

TEAMS_MAX = 200


def _title(value: object) -> object:
    return check_plain_text(value, characters_max=120) if isinstance(value, str) else value


Title = Annotated[str, BeforeValidator(_title)]
Path = Annotated[str, Field(max_length=NAME_CHARACTERS_MAX)]
Teams = Annotated[dict[Name, Access], Field(max_length=TEAMS_MAX)]


class VolumeRequest(Inbound):
    """A volume to be made.  The same request by the same person again gets the same volume.

    Attributes
    ----------
    cluster
        Where cluster storage is to be; empty for object storage.
    teams
        What each team may do; the first that may write pays.  Without any, admins alone see it.
    mount_path
        Where it is mounted unless a person says otherwise; empty for ``/NAME``, and for object storage ``NAME`` in
        its common folder.
    claim
        An existing claim on Kubernetes that becomes this volume; empty makes a new one.
    """

    organization: Name
    name: Name
    kind: VolumeKind
    title: Title = ""
    cluster: Name | None = None
    size_bytes: Size = Field(alias="size")
    teams: Teams = {}
    mount_path: Path = ""
    claim: ObjectName | None = None


class VolumeChange(Inbound):
    """What is to be another about a volume; what is left out stays.  ``teams`` replaces all of them."""

    title: Title | None = None
    size_bytes: Size | None = Field(default=None, alias="size")
    teams: Teams | None = None
    mount_path: Path | None = None


class MountView(Outbound):
    """A pending or running workspace that mounts a volume, as somebody who may see it sees it."""

    workspace_id: str
    title: str
    user: str
    read_only: bool


class VolumeDetail(Outbound):
    """One volume as a person sees it.

    Attributes
    ----------
    teams
        All teams that may mount it, ``rw`` or ``ro``, in the order in which they pay.
    paying_team
        The team that its cost is booked on; empty when it belongs to none.
    month_micros, rate_micros_per_hour
        What it costs; a month has 730 hours.  0 while it is being deleted.
    reason
        Why it is in its state, as a sentence; empty when there is nothing to say.
    mounted_by, mounted_by_others
        Workspaces that mount it now: those that this person may see, and how many more.
    actions
        What this person may do with it: ``use`` (mount it in a workspace), ``edit`` (title and mount path),
        ``grow``, ``teams``, ``delete``.
    delete_obstacle
        Why it cannot be deleted now, as a sentence, for a person who may; empty when it can.
    keeps_files
        Whether its files stay where they are when it is deleted, until an operator removes them.
    back_bytes
        The size that this person can set it back to, while its clusters refuse to let it grow; 0 when it cannot.
    claim
        What backs it on Kubernetes, for admins; else empty.
    """

    id: str
    organization: str
    name: str
    title: str
    kind: VolumeKind
    cluster: str = ""
    cluster_title: str = ""
    size_bytes: int
    teams: dict[str, Access]
    team_titles: dict[str, str] = {}
    paying_team: str = ""
    mount_path: str
    currency: str
    month_micros: int
    rate_micros_per_hour: int
    state: VolumeState
    reason: str = ""
    mounted_by: tuple[MountView, ...] = ()
    mounted_by_others: int = 0
    created_by: str = ""
    created_ms: int = 0
    declared: bool = False
    adopted: bool = False
    claim: str = ""
    actions: tuple[str, ...] = ()
    delete_obstacle: str = ""
    keeps_files: bool = False
    back_bytes: int = 0


class PlaceView(Outbound):
    """A cluster on which cluster storage can be made; ``adopts`` when an existing claim can be taken over there."""

    name: str
    title: str
    kind: str
    adopts: bool = False


class VolumeChoices(Outbound):
    """What a person may make in one organization, and what it costs per GiB and month.

    ``kinds`` is empty for somebody who may make nothing; ``teams`` are those they may give it to, by title.
    ``refusal`` is why nothing can be made now, such as credits that ran out; empty when it can.
    """

    organization: str
    title: str
    currency: str
    kinds: tuple[VolumeKind, ...] = ()
    teams: dict[str, str] = {}
    clusters: tuple[PlaceView, ...] = ()
    cluster_month_micros_per_gib: int = 0
    object_month_micros_per_gib: int = 0
    object_mount_path: str = ""
    refusal: str = ""


class VolumeList(Outbound):
    """Every volume that the person may see, by organization, kind and name, and what they may make."""

    volumes: tuple[VolumeDetail, ...]
    choices: tuple[VolumeChoices, ...]
    at_ms: int
