"""Who may do what with volumes, and which volumes there can be.  Pure: checks give a volume or a `PublicError`.

Cluster storage is the admins'.  Object storage is made by any member for the own teams, changed by members of
its teams, and deleted by those who may write to it.  Nobody gives away more than they have, makes another team
pay, or shrinks a volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .catalog import Cluster, ClusterKind, Offer
from .catalog_base import PRICE_MICROS_MAX
from .catalog_storage import Access
from .choosing import choose, open_to
from .errors import BadInput, Conflict, NotAllowed, PublicError
from .identity import Principal
from .kubernetes_names import volume_claim
from .limits import LimitedScope
from .money import format_credits
from .paths import check_mount_path, is_at_or_below
from .units import MIB, TIB, format_bytes
from .volumes import Volume, VolumeKind, VolumeState, backing_of
from .wire_volumes import VolumeChange, VolumeRequest

SIZE_BYTES_MIN, SIZE_BYTES_MAX = MIB, 1024 * 8 * TIB
MAY_GO_BACK = "Until it grows, its size can be set back to what it was."
"""What is said behind the reason why a cluster does not let a volume grow."""
RESERVED_CLAIMS = ("vessl-", "hub-")
"""How claims begin that belong to workspaces, to the registry, or to the hub itself, and cannot be adopted."""


def may_see(principal: Principal, volume: Volume) -> bool:
    """Every role of an assigned team, and admins of the organization."""
    if principal.is_admin(volume.organization):
        return True
    return any(principal.role_in(volume.organization, team) is not None for team in volume.teams)


def own_teams(principal: Principal, offer: Offer, organization: str) -> tuple[str, ...]:
    """Teams of an organization for which a person may make things, in the order of the offer."""
    return tuple(t for t in offer.organizations[organization].teams if principal.may_create(organization, t))


def best_access(principal: Principal, volume: Volume) -> Access | None:
    """The most that a person may do in a volume through the own teams; None for viewers and strangers."""
    mine = [access for team, access in volume.teams.items() if principal.may_create(volume.organization, team)]
    return next((access for access in (Access.READ_WRITE, Access.READ_ONLY) if access in mine), None)


def allowed_actions(principal: Principal, volume: Volume) -> tuple[str, ...]:
    """What a person may do with a volume in its state: ``use``, ``edit``, ``grow``, ``teams``, ``delete``."""
    mine = best_access(principal, volume)
    if volume.state is VolumeState.DELETING:
        return ()
    use = ("use",) if mine is not None and volume.state is not VolumeState.LOST else ()
    if volume.declared:
        return use
    if principal.is_admin(volume.organization):
        return (*use, "edit", *_growing(volume), "teams", "delete")
    if volume.kind is VolumeKind.CLUSTER or mine is None:
        return use
    pays = principal.may_create(volume.organization, volume.paying_team)
    deletes = ("delete",) if mine is Access.READ_WRITE else ()
    return (*use, "edit", *(_growing(volume) if pays else ()), "teams", *deletes)


def _growing(volume: Volume) -> tuple[str, ...]:
    return () if volume.state is VolumeState.LOST or volume.adopted else ("grow",)


# -- making ------------------------------------------------------------------


def check_new(request: VolumeRequest, offer: Offer, principal: Principal, volume_id: str, now_ms: int) -> Volume:
    """The volume that a request makes, or the `PublicError` that says what is not right about it.

    The caller has checked that the organization is the person's, and checks that the name is free.
    """
    organization = request.organization
    admin = principal.is_admin(organization)
    mine = own_teams(principal, offer, organization)
    if request.kind is VolumeKind.CLUSTER and not admin:
        raise NotAllowed(
            "Only an admin of the organization can make cluster storage.",
            hint="Object storage you can make yourself." if mine else "",
            field="kind",
        )
    if not admin and not mine:
        raise NotAllowed("You may look, but not make volumes: that needs the role member in a team.", field="teams")
    teams = _check_teams(request.teams, offer, organization, None if admin else mine)
    cluster = _check_place(request, offer, teams)
    folder = offer.storage.object.mount_path if request.kind is VolumeKind.OBJECT else ""
    return Volume(
        id=volume_id,
        organization=organization,
        name=request.name,
        title=request.title or request.name,
        kind=request.kind,
        cluster=cluster,
        size_bytes=_check_size(request.size_bytes),
        teams=teams,
        mount_path=check_path(request.mount_path or f"{folder}/{request.name}", request.kind, offer),
        claim=_check_claim(request, offer) or volume_claim(volume_id),
        adopted=bool(request.claim),
        created_by=principal.name,
        created_ms=now_ms,
        backing=backing_of(offer, request.kind),
    )


def _check_teams(
    teams: Mapping[str, Access], offer: Offer, organization: str, mine: Sequence[str] | None
) -> dict[str, Access]:
    """``mine`` are the only teams that may be given; None for all of the organization."""
    known = tuple(offer.organizations[organization].teams)
    hint = f"Choose among: {', '.join(known if mine is None else mine)}."
    for team in teams:
        if mine is not None and team not in mine:
            message = f"You are not a member of team {team}, so you cannot give it a volume."
            raise NotAllowed(message, hint=hint, field="teams")
        if team not in known:
            raise BadInput(f"There is no team {team!r}.", hint=hint, field="teams")
    if not teams and mine is not None:
        raise BadInput("Choose at least one team.", hint=hint, field="teams")
    return dict(teams)


def _check_place(request: VolumeRequest, offer: Offer, teams: Mapping[str, Access]) -> str:
    if request.kind is VolumeKind.OBJECT:
        if request.cluster is not None:
            raise BadInput("Object storage is there on every cluster; leave cluster out.", field="cluster")
        if not any(_has_object_storage(offer, c) and _open_to_any(c, teams) for c in offer.clusters.values()):
            raise BadInput("No cluster that these teams may use has object storage.", hint="Ask an admin.")
        return ""
    if request.cluster is None:
        raise BadInput("Choose a cluster for this volume.", hint=f"There is {', '.join(offer.clusters)}.")
    place = choose("cluster", "cluster", request.cluster, offer.clusters)
    if not keeps_volumes(place):
        raise BadInput(f"Volumes cannot be made on {place.kind.value} clusters.", field="cluster")
    check_open(place, request.cluster, teams)
    return request.cluster


def keeps_volumes(cluster: Cluster) -> bool:
    """Whether volumes can be made on this kind of cluster."""
    return cluster.kind in (ClusterKind.KUBERNETES, ClusterKind.LOCAL)


def _has_object_storage(offer: Offer, cluster: Cluster) -> bool:
    known = offer.storage.object.kubernetes is not None or cluster.kind is not ClusterKind.KUBERNETES
    return keeps_volumes(cluster) and known


def _open_to_any(cluster: Cluster, teams: Iterable[str]) -> bool:
    names = tuple(teams)
    return not names or any(open_to(cluster.teams, team) for team in names)


def check_open(place: Cluster, cluster: str, teams: Iterable[str]) -> None:
    """Raises `BadInput` for a team that may not use the cluster that a volume is on."""
    for team in teams:
        if not open_to(place.teams, team):
            raise BadInput(f"Team {team} may not use cluster {cluster}.", field="teams")


def _check_size(size_bytes: int) -> int:
    if not SIZE_BYTES_MIN <= size_bytes <= SIZE_BYTES_MAX:
        least, most = format_bytes(SIZE_BYTES_MIN), format_bytes(SIZE_BYTES_MAX)
        raise BadInput(f"A volume has from {least} to {most}.", field="size")
    return size_bytes


def check_rate(rate_micros_per_hour: int) -> None:
    """Raises `BadInput` for what costs more than can be booked."""
    if rate_micros_per_hour > PRICE_MICROS_MAX:
        raise BadInput("A volume of this size costs more than can be booked; make it smaller.", field="size")


def check_path(path: str, kind: VolumeKind, offer: Offer) -> str:
    """A mount path for a volume, normalized; raises `BadInput`."""
    try:
        path = check_mount_path(path)
    except ValueError as error:
        raise BadInput(f"The mount path: {error}.", field="mount_path") from None
    home, temporary = offer.storage.workspace.mount_path, offer.storage.temporary.mount_path
    if path == home or (kind is VolumeKind.OBJECT and is_at_or_below(path, home)):
        why = "holds the workspace volume" if path == home else "is in the home, for which object storage is too slow"
        raise BadInput(f"{path} {why}; choose another mount path, such as /data.", field="mount_path")
    if is_at_or_below(home, path) or is_at_or_below(path, temporary) or is_at_or_below(temporary, path):
        raise BadInput(f"{path} overlaps {home} or {temporary}; choose another, such as /data.", field="mount_path")
    return path


def _check_claim(request: VolumeRequest, offer: Offer) -> str:
    claim = request.claim
    if claim is None:
        return ""
    place = offer.clusters.get(request.cluster or "")
    if place is None or place.kind is not ClusterKind.KUBERNETES:
        raise BadInput("Only cluster storage on Kubernetes can use an existing claim.", field="claim")
    if claim.startswith(RESERVED_CLAIMS):
        raise BadInput(f"The claim {claim} belongs to the hub, to a workspace or to another volume.", field="claim")
    return claim


# -- changing ----------------------------------------------------------------


def growth_refused(volume: Volume) -> bool:
    """Whether every cluster that has a volume refuses to let it grow, as its reason says."""
    return volume.reason.count(MAY_GO_BACK) >= max(len(volume.seen_on), 1)


def check_change(
    volume: Volume, change: VolumeChange, offer: Offer, principal: Principal, back_bytes: int | None = None
) -> Volume:
    """A volume as it is after a change, or the `PublicError` that says why it cannot be so.

    ``back_bytes`` is the size it had before it was to grow, while that is refused; None when it cannot go back.
    """
    _check_changeable(volume, "changed", "change")
    admin = principal.is_admin(volume.organization)
    if not admin and (volume.kind is VolumeKind.CLUSTER or best_access(principal, volume) is None):
        raise _not_yours(volume, "change")
    changed: dict[str, object] = {}
    if change.title is not None:
        changed["title"] = change.title or volume.name
    if change.mount_path:
        changed["mount_path"] = check_path(change.mount_path, volume.kind, offer)
    if change.size_bytes is not None and change.size_bytes != volume.size_bytes:
        changed["size_bytes"] = _check_growth(volume, change.size_bytes, admin, principal, back_bytes)
    if change.teams is not None:
        changed["teams"] = _check_new_teams(volume, change.teams, offer, principal)
    return volume.model_copy(update=changed)


def _check_changeable(volume: Volume, done: str, what: str) -> None:
    if volume.declared:
        raise Conflict(f"Not {done}: {volume.name} comes from vessl.yaml; {what} it there.")
    if volume.state is VolumeState.DELETING:
        raise Conflict(f"Not {done}: {volume.name} is being deleted.")


def _not_yours(volume: Volume, what: str) -> NotAllowed:
    if volume.kind is VolumeKind.CLUSTER:
        return NotAllowed(f"Only an admin of the organization can {what} cluster storage.")
    if not volume.teams:
        return NotAllowed(f"{volume.name} belongs to no team; only an admin can {what} it.")
    return NotAllowed(f"You may look at {volume.name}, but not {what} it.", hint=f"It is team {volume.paying_team}'s.")


def _check_growth(volume: Volume, size_bytes: int, admin: bool, principal: Principal, back_bytes: int | None) -> int:
    if volume.adopted:
        hint = "Whoever manages the claim can let it grow there."
        message = f"Not changed: {volume.name} is an existing claim, whose size is left as it is."
        raise Conflict(message, hint=hint, field="size")
    if size_bytes < (volume.size_bytes if back_bytes is None else back_bytes):
        copy = "Make a smaller one, copy the files, and delete this one."
        raise BadInput(
            f"Not changed: {volume.name} has {format_bytes(volume.size_bytes)} and volumes cannot shrink.",
            hint=copy if back_bytes is None else f"Its size can be set back to {format_bytes(back_bytes)}.",
            field="size",
        )
    if volume.state is VolumeState.LOST:
        raise Conflict(f"Not grown: {volume.name} is lost; its cluster has it no more.")
    if not admin and not principal.may_create(volume.organization, volume.paying_team):
        raise NotAllowed(
            f"Team {volume.paying_team} pays for {volume.name}, so only its members can let it grow.", field="size"
        )
    return _check_size(size_bytes)


def _check_new_teams(
    volume: Volume, teams: Mapping[str, Access], offer: Offer, principal: Principal
) -> dict[str, Access]:
    organization = volume.organization
    if principal.is_admin(organization):
        # what has gone from the offer meanwhile may stay as it is
        fresh = {team: access for team, access in teams.items() if team not in volume.teams}
        _check_teams(fresh, offer, organization, None)
        place = offer.clusters.get(volume.cluster)
        if place is not None:
            check_open(place, volume.cluster, fresh)
        return dict(teams)
    mine, best = own_teams(principal, offer, organization), best_access(principal, volume)
    changed = {team for team in {*teams, *volume.teams} if teams.get(team) is not volume.teams.get(team)}
    foreign = sorted(changed - set(mine))
    if foreign:
        raise NotAllowed(
            f"You are not a member of team {foreign[0]}, so its access stays as it is.",
            hint=f"Yours are: {', '.join(mine)}.",
            field="teams",
        )
    if best is not Access.READ_WRITE and any(teams.get(team) is Access.READ_WRITE for team in changed):
        raise NotAllowed(f"You may only read {volume.name}, so you cannot let a team write to it.", field="teams")
    if not teams:
        raise BadInput("A volume needs at least one team; delete it, or ask an admin.", field="teams")
    after = volume.model_copy(update={"teams": dict(teams)})
    if after.paying_team != volume.paying_team and after.paying_team not in mine:
        raise NotAllowed(
            f"Then team {after.paying_team} would pay for {volume.name}, and you are not a member of it.",
            hint="Ask an admin.",
            field="teams",
        )
    return dict(teams)


# -- deleting ----------------------------------------------------------------


def check_delete(volume: Volume, principal: Principal) -> None:
    """Raises `PublicError` unless the person may delete a volume; whether it is mounted is another question."""
    admin = principal.is_admin(volume.organization)
    if not admin and (volume.kind is VolumeKind.CLUSTER or best_access(principal, volume) is None):
        raise _not_yours(volume, "delete")
    if volume.declared:
        raise Conflict(f"Not deleted: {volume.name} comes from vessl.yaml; take it out there.")
    if not admin and best_access(principal, volume) is not Access.READ_WRITE:
        raise NotAllowed(f"You may only read {volume.name}, so you cannot delete it.")


def mounted_refusal(volume: Volume, titles: Sequence[str], others: int) -> PublicError | None:
    """Why a volume that workspaces mount is not deleted; None when none does.

    ``titles`` are those of workspaces that the person may see, ``others`` how many more there are.
    """
    count = len(titles) + others
    if not count:
        return None
    shown = [*titles[:3]]
    hidden = count - len(shown)
    if hidden:
        shown.append(f"{hidden} more" if titles else f"{hidden} of other people")
    names = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
    mount = "workspace mounts" if count == 1 else "workspaces mount"
    return Conflict(f"Not deleted: {count} {mount} {volume.name} now ({names}).", hint="Pause or terminate them first.")


# -- limits ------------------------------------------------------------------


def limit_refusal(
    scopes: Iterable[tuple[LimitedScope, int]], verb: str, currency: str, contact: str
) -> NotAllowed | None:
    """Why limits do not let a volume be made or grow, by the first that it would break; else None.

    ``scopes`` are those that it counts in, with how many bytes it adds to each; ``verb`` is "made" or "grown".
    """
    hint = f"Delete something, or ask {contact}."
    for scope, more_bytes in scopes:
        limits, use = scope.limits, scope.use
        for limit, spent, period in (
            (limits.day_micros, use.day_micros, "today"),
            (limits.month_micros, use.month_micros, "this month"),
        ):
            if limit is not None and spent >= limit:
                budget, used = format_credits(limit, currency), format_credits(spent, currency)
                message = f"Not {verb}: {scope.whose} has used {used} of its {budget} for {period}."
                return NotAllowed(message, code="budget", hint=f"Ask {contact}.", field="size")
        if (
            limits.storage_bytes is not None
            and more_bytes > 0
            and use.storage_bytes + more_bytes > limits.storage_bytes
        ):
            message = (
                f"Not {verb}: {scope.whose} may have {format_bytes(limits.storage_bytes)} of storage and has "
                f"{format_bytes(use.storage_bytes)}; this needs {format_bytes(more_bytes)} more."
            )
            return NotAllowed(message, code="quota", hint=hint, field="size")
    return None
