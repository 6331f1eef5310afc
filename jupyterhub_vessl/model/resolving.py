"""From a request to a plan: every choice named, priced and allowed.  Pure; the heart of admission.

`resolve` is called by the service at every start (never once and remembered), because the hub lets people
change ``user_options`` between starts (DESIGN §4).
"""

from __future__ import annotations

from collections.abc import Mapping

from .availability import Capacity, spec_obstacle
from .catalog import Cluster, ClusterKind, Image, Offer, Preset, ResourceSpec
from .choosing import choose, open_to
from .errors import BadInput, NotAllowed
from .identity import Principal
from .paths import SERVER_PATHS
from .plan import KubernetesPlan, Owner, PlannedSpec, Port, WorkspacePlan
from .request import PortRequest, WorkspaceRequest
from .resolving_image import pull_secret, resolve_image
from .resolving_storage import resolve_mounts
from .volumes import Volumes


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
    return choose(
        "preset", "preset", request.preset, {n: p for n, p in offer.presets.items() if open_to(p.teams, team)}
    )


def _resolve_cluster(request: WorkspaceRequest, offer: Offer, team: str) -> tuple[str, Cluster]:
    offered = {n: c for n, c in offer.clusters.items() if open_to(c.teams, team)}
    if request.cluster is not None:
        return request.cluster, choose("cluster", "cluster", request.cluster, offered)
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
    spec = choose("resource spec", "spec", name, offered)
    obstacle = spec_obstacle(spec, cluster, kind, capacity)
    if obstacle:
        raise BadInput(
            f"{spec.title} is not available: {obstacle}.", hint="Choose another resource spec.", field="spec"
        )
    return name, spec


def _resolve_ports(ports: Mapping[str, PortRequest]) -> tuple[Port, ...]:
    numbers: dict[int, str] = {}
    for name, port in ports.items():
        if port.port in numbers:
            raise BadInput(f"Ports {numbers[port.port]} and {name} have the same number {port.port}.", field="ports")
        numbers[port.port] = name
    return tuple(Port(name=name, type=port.type, port=port.port, path=port.path) for name, port in ports.items())


def _refuse_shadow(owner: Owner) -> None:
    """A new server named "proxy" would take /user/NAME/proxy/ from the default server of the same person."""
    if owner.team is None and owner.server_name in SERVER_PATHS:
        raise BadInput(
            f"A server cannot be named {owner.server_name!r}: that is an address inside your default server.",
            hint=f"Choose another name, such as {owner.server_name}-2.",
            field="name",
        )


def planned(name: str, spec: ResourceSpec) -> PlannedSpec:
    """The resource spec as it is now."""
    return PlannedSpec(
        name=name,
        title=spec.title,
        gpu_type=spec.gpu.type if spec.gpu else "",
        gpu_count=spec.gpu.count if spec.gpu else 0,
        cpu_millis=spec.cpu_millis,
        memory_bytes=spec.memory_bytes,
        temporary_bytes=spec.temporary_bytes,
    )


def resolve(
    request: WorkspaceRequest,
    offer: Offer,
    principal: Principal,
    owner: Owner,
    capacities: Mapping[str, Capacity],
    volumes: Volumes,
) -> WorkspacePlan:
    """Turn a request into a plan, or raise a `PublicError` that names the field and says what is right.

    Parameters
    ----------
    capacities
        What each cluster can hold, by cluster name; a cluster without an entry cannot be reached.
    volumes
        The storage registry.
    """
    organization, team = _resolve_team(request, offer, principal, owner)
    _refuse_shadow(owner)
    preset = _resolve_preset(request, offer, team)
    cluster, place = _resolve_cluster(request, offer, team)
    capacity = capacities.get(cluster, Capacity(reachable=False))
    spec_name, spec = _resolve_spec(
        request.spec or (preset and preset.spec) or None, offer, team, cluster, place.kind, capacity
    )
    image_name, image = resolve_image(request, preset, offer, team, place.kind)
    storage = request.storage if request.storage is not None else (preset.storage if preset else {})
    preset_ports = {n: PortRequest(**p.model_dump()) for n, p in preset.ports.items()} if preset else {}
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
        spec=planned(spec_name, spec),
        image=image_name,
        image_title=image.title,
        image_url=image.url or "",
        mounts=resolve_mounts(storage, offer, organization, team, cluster, spec, volumes),
        ports=_resolve_ports(request.ports if request.ports is not None else preset_ports),
        environment=dict(environment),
        rate_micros_per_hour=spec.rate_micros_per_hour,
        stop_grace_seconds=offer.policies.stop_grace_seconds,
        kubernetes=_kubernetes(offer, place, spec, image, team) if place.kind is ClusterKind.KUBERNETES else None,
    )


def _kubernetes(offer: Offer, place: Cluster, spec: ResourceSpec, image: Image, team: str) -> KubernetesPlan:
    settings, own = spec.kubernetes, place.storage_classes
    return KubernetesPlan(
        context=place.context or "",
        namespace=place.namespace or "",
        tcp_service=place.tcp_service or "ClusterIP",
        gpu_resource=settings.gpu_resource,
        node_selector=settings.node_selector,
        node_names=settings.node_names,
        tolerations=settings.tolerations,
        storage_class=(own and own.workspace) or offer.storage.workspace.kubernetes.storage_class,
        pull_policy=image.pull_policy,
        pull_secret=pull_secret(image, offer, team),
    )
