"""From a request to a plan: every choice named, priced and allowed.  Pure; the heart of admission.

`resolve` is called by the service at every start (never once and remembered), because the hub lets people
change ``user_options`` between starts (DESIGN §4).  The plan is all that a renderer sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from .availability import Capacity, image_obstacle, spec_obstacle
from .catalog import Access, Cluster, ClusterKind, Image, Offer, Preset, ResourceSpec, hour_rate_of_storage
from .errors import BadInput, NotAllowed
from .identity import Principal
from .paths import is_at_or_below
from .request import PortRequest, WorkspaceRequest

T = TypeVar("T")


class Frozen(BaseModel):
    """Base of the plan's parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MountKind(str, Enum):
    """The four kinds of storage of DESIGN §2."""

    WORKSPACE = "workspace"
    CLUSTER = "cluster"
    OBJECT = "object"
    TEMPORARY = "temporary"


class Mount(Frozen):
    """One volume at its place.  ``volume`` is the name in the offer, empty for workspace and temporary storage."""

    kind: MountKind
    mount_path: str
    size_bytes: int
    volume: str = ""
    read_only: bool = False
    organization: str = ""
    rate_micros_per_hour: int = 0


class Port(Frozen):
    """A named endpoint that the workspace exposes."""

    name: str
    type: str
    port: int


class PlannedSpec(Frozen):
    """The resource spec as it was at admission: a snapshot, so that a later change of the offer cannot reach it."""

    name: str
    title: str
    gpu_type: str = ""
    gpu_count: int = 0
    cpu_millis: int
    memory_bytes: int
    temporary_bytes: int


class WorkspacePlan(Frozen):
    """What a request means exactly.  ``rate_micros_per_hour`` is the compute price while it runs."""

    workspace_id: str
    user: str
    server_name: str
    title: str
    organization: str
    team: str
    currency: str
    cluster: str
    cluster_kind: ClusterKind
    preset: str = ""
    spec: PlannedSpec
    image: str
    image_title: str
    image_url: str = ""
    mounts: tuple[Mount, ...]
    ports: tuple[Port, ...] = ()
    environment: dict[str, str] = {}
    rate_micros_per_hour: int
    stop_grace_seconds: int = 5

    @property
    def home(self) -> Mount:
        """The workspace volume."""
        return next(m for m in self.mounts if m.kind is MountKind.WORKSPACE)


class Owner(Frozen):
    """The workspace a plan is for; ``organization`` and ``team`` are set once it exists and cannot change."""

    workspace_id: str
    user: str
    server_name: str
    title: str = ""
    organization: str | None = None
    team: str | None = None


def _choose(kind: str, field: str, name: str, offered: Mapping[str, T]) -> T:
    if name not in offered:
        raise BadInput(
            f"There is no {kind} {name!r}.",
            hint=f"Choose one of: {', '.join(offered) or 'none'}.",
            field=field,
        )
    return offered[name]


def open_to(teams: tuple[str, ...] | None, team: str) -> bool:
    """Whether something in the offer is open to a team; no list means to all."""
    return teams is None or team in teams


def creatable_teams(offer: Offer, principal: Principal) -> tuple[tuple[str, str], ...]:
    """(organization, team) pairs in which the person may start workspaces, in the order of the offer."""
    return tuple(
        (organization, team)
        for organization, body in offer.organizations.items()
        for team in body.teams
        if principal.may_create(organization, team)
    )


def _resolve_team(request: WorkspaceRequest, offer: Offer, principal: Principal, owner: Owner) -> tuple[str, str]:
    teams = creatable_teams(offer, principal)
    if not teams:
        raise NotAllowed(
            "You may look, but not start workspaces: that needs the role member in a team.",
            hint="Ask a manager of your team.",
            field="team",
        )
    if owner.team is not None:
        if request.team not in (None, owner.team):
            raise BadInput(
                f"This workspace belongs to team {owner.team} and stays there.",
                hint="Create a new workspace for the other team.",
                field="team",
            )
        if (owner.organization, owner.team) not in teams:
            raise NotAllowed(f"You are no longer a member of team {owner.team}.", field="team")
        return str(owner.organization), owner.team
    if request.team is None:
        names = [team for _, team in teams]
        if len(teams) > 1:
            raise BadInput("Choose a team for this workspace.", hint=f"Yours are: {', '.join(names)}.", field="team")
        return teams[0]
    mine = [pair for pair in teams if pair[1] == request.team]
    if not mine:
        raise BadInput(
            f"You cannot start workspaces for team {request.team!r}.",
            hint=f"Yours are: {', '.join(team for _, team in teams)}.",
            field="team",
        )
    return mine[0]


def _resolve_preset(request: WorkspaceRequest, offer: Offer, team: str) -> Preset | None:
    if request.preset is None:
        return None
    return _choose(
        "preset", "preset", request.preset, {n: p for n, p in offer.presets.items() if open_to(p.teams, team)}
    )


def _resolve_cluster(request: WorkspaceRequest, offer: Offer, team: str) -> tuple[str, Cluster]:
    offered = {n: c for n, c in offer.clusters.items() if open_to(c.teams, team)}
    if request.cluster is not None:
        return request.cluster, _choose("cluster", "cluster", request.cluster, offered)
    if not offered:
        raise BadInput(f"No cluster is open to team {team}.", hint="Ask an admin.", field="cluster")
    return next(iter(offered.items()))


def _resolve_spec(
    name: str | None, offer: Offer, team: str, cluster: str, kind: ClusterKind, capacity: Capacity
) -> tuple[str, ResourceSpec]:
    offered = {n: s for n, s in offer.resource_specs.items() if open_to(s.teams, team)}
    if name is None:
        free = [(n, s) for n, s in offered.items() if not spec_obstacle(s, cluster, kind, capacity)]
        if not free:
            raise BadInput("No resource spec is available on this cluster.", hint="Ask an admin.", field="spec")
        return min(free, key=lambda item: item[1].rate_micros_per_hour)
    spec = _choose("resource spec", "spec", name, offered)
    obstacle = spec_obstacle(spec, cluster, kind, capacity)
    if obstacle:
        raise BadInput(
            f"{spec.title} is not available: {obstacle}.", hint="Choose another resource spec.", field="spec"
        )
    return name, spec


def _resolve_image(name: str | None, offer: Offer, team: str, kind: ClusterKind) -> tuple[str, Image]:
    offered = {n: i for n, i in offer.images.items() if open_to(i.teams, team)}
    if name is None:
        usable = [(n, i) for n, i in offered.items() if not image_obstacle(i, kind)]
        if not usable:
            raise BadInput("No image is available on this cluster.", hint="Ask an admin.", field="image")
        return usable[0]
    image = _choose("image", "image", name, offered)
    obstacle = image_obstacle(image, kind)
    if obstacle:
        raise BadInput(f"{image.title} is not available: {obstacle}.", hint="Choose another image.", field="image")
    return name, image


def volume_access(offer: Offer, name: str, organization: str, team: str) -> Access | None:
    """What a team may do with a volume of the offer; None when it may not even know of it."""
    volume = offer.storage.cluster.volumes.get(name) or offer.storage.object.volumes.get(name)
    if volume is None or team not in offer.organizations[organization].teams:
        return None
    return volume.teams.get(team)


def _resolve_mount(name: str, path: str, offer: Offer, organization: str, team: str, cluster: str) -> Mount:
    access = volume_access(offer, name, organization, team)
    if access is None:
        raise BadInput(f"Team {team} has no volume {name!r}.", hint="Choose one from the list.", field="storage")
    home = offer.storage.workspace.mount_path
    in_cluster = offer.storage.cluster.volumes.get(name)
    in_object = offer.storage.object.volumes.get(name)
    if in_cluster is not None and in_cluster.cluster != cluster:
        raise BadInput(
            f"Volume {name} is on cluster {in_cluster.cluster} and cannot be mounted on {cluster}.",
            field="storage",
        )
    if path == home:
        raise BadInput(f"{home} holds the workspace volume; mount {name} elsewhere, such as /data.", field="storage")
    if in_object is not None and is_at_or_below(path, home):
        raise BadInput(
            f"Object storage is too slow for a home directory; mount {name} outside {home}, such as /shared.",
            field="storage",
        )
    volume = in_cluster or in_object
    assert volume is not None  # noqa: S101  volume_access found it
    return Mount(
        kind=MountKind.CLUSTER if in_cluster is not None else MountKind.OBJECT,
        volume=name,
        mount_path=path,
        size_bytes=volume.size_bytes,
        read_only=access is Access.READ_ONLY,
        organization=organization,
    )


def _resolve_mounts(
    wanted: Mapping[str, str], offer: Offer, organization: str, team: str, cluster: str, spec: ResourceSpec
) -> tuple[Mount, ...]:
    home, temporary = offer.storage.workspace, offer.storage.temporary
    mounts = [
        Mount(
            kind=MountKind.WORKSPACE,
            mount_path=home.mount_path,
            size_bytes=home.size_bytes,
            rate_micros_per_hour=hour_rate_of_storage(home.month_micros_per_gib, home.size_bytes),
        ),
        *(_resolve_mount(name, path, offer, organization, team, cluster) for name, path in wanted.items()),
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


def _resolve_ports(ports: Mapping[str, PortRequest]) -> tuple[Port, ...]:
    numbers: dict[int, str] = {}
    for name, port in ports.items():
        if port.port in numbers:
            raise BadInput(f"Ports {numbers[port.port]} and {name} have the same number {port.port}.", field="ports")
        numbers[port.port] = name
    return tuple(Port(name=name, type=port.type, port=port.port) for name, port in ports.items())


def resolve(
    request: WorkspaceRequest,
    offer: Offer,
    principal: Principal,
    owner: Owner,
    capacities: Mapping[str, Capacity],
) -> WorkspacePlan:
    """Turn a request into a plan, or raise a `PublicError` that names the field and says what is right.

    Parameters
    ----------
    capacities
        What each cluster can hold, by cluster name; a cluster without an entry cannot be reached.
    """
    organization, team = _resolve_team(request, offer, principal, owner)
    preset = _resolve_preset(request, offer, team)
    cluster, place = _resolve_cluster(request, offer, team)
    capacity = capacities.get(cluster, Capacity(reachable=False))
    spec_name, spec = _resolve_spec(
        request.spec or (preset and preset.spec) or None, offer, team, cluster, place.kind, capacity
    )
    image_name, image = _resolve_image(request.image or (preset and preset.image) or None, offer, team, place.kind)
    storage = request.storage if request.storage is not None else (preset.storage if preset else {})
    preset_ports = {n: PortRequest(type=p.type, port=p.port) for n, p in preset.ports.items()} if preset else {}
    environment = request.environment if request.environment is not None else (preset.environment if preset else {})
    return WorkspacePlan(
        workspace_id=owner.workspace_id,
        user=owner.user,
        server_name=owner.server_name,
        title=request.name or owner.title or (preset.title if preset else spec.title),
        organization=organization,
        team=team,
        currency=offer.organizations[organization].currency,
        cluster=cluster,
        cluster_kind=place.kind,
        preset=request.preset or "",
        spec=PlannedSpec(
            name=spec_name,
            title=spec.title,
            gpu_type=spec.gpu.type if spec.gpu else "",
            gpu_count=spec.gpu.count if spec.gpu else 0,
            cpu_millis=spec.cpu_millis,
            memory_bytes=spec.memory_bytes,
            temporary_bytes=spec.temporary_bytes,
        ),
        image=image_name,
        image_title=image.title,
        image_url=image.url or "",
        mounts=_resolve_mounts(storage, offer, organization, team, cluster, spec),
        ports=_resolve_ports(request.ports if request.ports is not None else preset_ports),
        environment=dict(environment),
        rate_micros_per_hour=spec.rate_micros_per_hour,
        stop_grace_seconds=offer.policies.stop_grace_seconds,
    )
