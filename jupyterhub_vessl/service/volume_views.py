"""The storage registry as one person sees it: volumes, what they may do with them, and what they may make."""

from __future__ import annotations

from collections.abc import Iterable

from ..ledger.volumes import Mounted
from ..model.catalog import ClusterKind, Offer
from ..model.choosing import open_to
from ..model.identity import Principal
from ..model.money import MONTH_HOURS
from ..model.volume_keeping import keeps_files
from ..model.volume_rules import allowed_actions, keeps_volumes, mounted_refusal, own_teams
from ..model.volumes import Volume, VolumeKind
from ..model.wire_volumes import MountView, PlaceView, VolumeChoices, VolumeDetail
from .storage import hour_rate, month_micros


def sees_mount(principal: Principal, mounted: Mounted) -> bool:
    """The owner of what mounts a volume, managers of its team, and admins, as with workspaces themselves."""
    return mounted.person == principal.name or principal.manages(mounted.organization, mounted.team)


def volume_detail(
    offer: Offer,
    principal: Principal,
    volume: Volume,
    rate_micros_per_hour: int,
    mounted: Iterable[Mounted],
    back_bytes: int | None = None,
) -> VolumeDetail:
    """One volume; ``rate_micros_per_hour`` is what is billed now, ``back_bytes`` what its size can go back to."""
    mounted = tuple(mounted)
    seen = [m for m in mounted if sees_mount(principal, m)]
    others = len(mounted) - len(seen)
    actions = allowed_actions(principal, volume)
    refused = mounted_refusal(volume, [m.title for m in seen], others) if "delete" in actions else None
    body, cluster = offer.organizations[volume.organization], offer.clusters.get(volume.cluster)
    usual = rate_micros_per_hour == hour_rate(offer, volume)
    return VolumeDetail(
        id=volume.id,
        organization=volume.organization,
        name=volume.name,
        title=volume.title,
        kind=volume.kind,
        cluster=volume.cluster,
        cluster_title=(cluster and cluster.title) or volume.cluster,
        size_bytes=volume.size_bytes,
        teams=volume.teams,
        team_titles={team: body.teams[team].title for team in volume.teams if team in body.teams},
        paying_team=volume.paying_team,
        mount_path=volume.mount_path,
        currency=body.currency,
        month_micros=month_micros(offer, volume) if usual else rate_micros_per_hour * MONTH_HOURS,
        rate_micros_per_hour=rate_micros_per_hour,
        state=volume.state,
        reason=volume.reason,
        mounted_by=tuple(
            MountView(workspace_id=m.workspace_id, title=m.title, user=m.person, read_only=m.read_only) for m in seen
        ),
        mounted_by_others=others,
        created_by=volume.created_by,
        created_ms=volume.created_ms,
        declared=volume.declared,
        adopted=volume.adopted,
        claim=volume.claim if principal.is_admin(volume.organization) else "",
        actions=actions,
        keeps_files=keeps_files(offer, volume),
        back_bytes=(back_bytes or 0) if "grow" in actions else 0,
        delete_obstacle=refused.sentence() if refused is not None else "",
    )


def choices(offer: Offer, principal: Principal, organization: str, refusal: str) -> VolumeChoices:
    """What a person may make in an organization; ``refusal`` is why nothing can be made just now."""
    body, mine = offer.organizations[organization], own_teams(principal, offer, organization)
    kinds = (VolumeKind.CLUSTER, VolumeKind.OBJECT) if principal.is_admin(organization) else (VolumeKind.OBJECT,)
    storage = offer.storage
    return VolumeChoices(
        organization=organization,
        title=body.title,
        currency=body.currency,
        kinds=kinds if mine else (),
        teams={team: body.teams[team].title for team in mine},
        clusters=tuple(
            PlaceView(
                name=name,
                title=cluster.title or name,
                kind=cluster.kind.value,
                adopts=cluster.kind is ClusterKind.KUBERNETES,
            )
            for name, cluster in offer.clusters.items()
            if VolumeKind.CLUSTER in kinds
            and mine
            and keeps_volumes(cluster)
            and any(open_to(cluster.teams, team) for team in mine)
        ),
        cluster_month_micros_per_gib=storage.cluster.month_micros_per_gib,
        object_month_micros_per_gib=storage.object.month_micros_per_gib,
        object_mount_path=storage.object.mount_path,
        refusal=refusal,
    )
