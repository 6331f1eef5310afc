"""The storage registry: which volumes there are, and which have been.

What a volume costs is in its spans; here is what it is.  Rows are never deleted: a volume that has ended gives
its name back and keeps its id.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..model.catalog_storage import Access
from ..model.kubernetes_names import home_claim
from ..model.plan import WorkspacePlan
from ..model.volumes import Backing, Volume, VolumeKind, VolumeState
from .prepared import Prepared
from .schema import admissions, volumes, workspaces

_COLUMNS = tuple(column.name for column in volumes.c if column.name not in ("slot", "request", "ended_ms"))
_READ = [volumes.c[name] for name in _COLUMNS]
_LIVING = Prepared(sa.select(*_READ).where(volumes.c.slot.is_not(None)).order_by(volumes.c.slot))
_LIVING_OF = Prepared(
    sa.select(*_READ)
    .where(volumes.c.slot.is_not(None), volumes.c.organization == sa.bindparam("of"))
    .order_by(volumes.c.slot)
)
_BY_SLOT = Prepared(sa.select(*_READ).where(volumes.c.slot == sa.bindparam("of")))
_INSERT = Prepared(volumes.insert().values({c.name: sa.bindparam(c.name) for c in volumes.c}))
_UPDATE = Prepared(
    volumes.update()
    .where(volumes.c.id == sa.bindparam("of"))
    .values({name: sa.bindparam(name) for name in _COLUMNS if name != "id"})
)

_ANY_VOLUME = sa.or_(*(admissions.c.plan.like(f'%"kind":"{kind.value}"%') for kind in VolumeKind))
_NO_CLAIM = {"claim": "", "volume": "", "read_only": False}
"""Plans of before the registry say no claim."""


def _slot(organization: str, name: str) -> str:
    return f"{organization}/{name}"


def _volume(row: Sequence[Any]) -> Volume:
    values = dict(zip(_COLUMNS, row, strict=True))
    # checked when they were written; admission reads this at every start
    return Volume.model_construct(
        **values
        | {
            "kind": VolumeKind(values["kind"]),
            "teams": {team: Access(access) for team, access in json.loads(values["teams"]).items()},
            "adopted": bool(values["adopted"]),
            "declared": bool(values["declared"]),
            "state": VolumeState(values["state"]),
            "backing": Backing(values["backing"]),
            "seen_on": tuple(json.loads(values["seen_on"])),
        }
    )


def _values(volume: Volume) -> dict[str, Any]:
    return {
        **{name: getattr(volume, name) for name in _COLUMNS},
        "kind": volume.kind.value,
        "teams": json.dumps({team: access.value for team, access in volume.teams.items()}),
        "state": volume.state.value,
        "backing": volume.backing.value,
        "seen_on": json.dumps(volume.seen_on),
    }


def list_volumes(connection: sa.Connection, organization: str | None = None) -> tuple[Volume, ...]:
    """The living volumes of an organization, or of all, by name; those that are being deleted among them."""
    if organization is None:
        return tuple(map(_volume, _LIVING.run(connection, {})))
    return tuple(map(_volume, _LIVING_OF.run(connection, {"of": organization})))


def volume_by_name(connection: sa.Connection, organization: str, name: str) -> Volume | None:
    """The living volume of a name, or None."""
    row = _BY_SLOT.run(connection, {"of": _slot(organization, name)}).one_or_none()
    return None if row is None else _volume(row)


class LivingVolumes(Mapping[tuple[str, str], Volume]):
    """Living volumes by (organization, name), each read when it is asked for: a start needs few of very many."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def __getitem__(self, key: tuple[str, str]) -> Volume:
        volume = volume_by_name(self._connection, *key)
        if volume is None:
            raise KeyError(key)
        return volume

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter([(volume.organization, volume.name) for volume in list_volumes(self._connection)])

    def __len__(self) -> int:
        return len(list(iter(self)))


def insert_volume(connection: sa.Connection, volume: Volume, request: str = "") -> None:
    """Record a new volume; ``request`` is what was asked for, as text that can be compared."""
    slot = _slot(volume.organization, volume.name)
    _INSERT.run(connection, _values(volume) | {"slot": slot, "request": request, "ended_ms": None})


def request_of(connection: sa.Connection, volume_id: str) -> str:
    """What was asked for when a volume was made; empty for a volume of vessl.yaml."""
    query = sa.select(volumes.c.request).where(volumes.c.id == volume_id)
    return str(connection.execute(query).scalar() or "")


def save_volume(connection: sa.Connection, volume: Volume) -> None:
    """Write a known volume as it now is."""
    _UPDATE.run(connection, _values(volume) | {"of": volume.id})


def end_volume(connection: sa.Connection, volume_id: str, now_ms: int) -> None:
    """A volume is gone, or let go: its name is free again."""
    connection.execute(volumes.update().where(volumes.c.id == volume_id).values(slot=None, ended_ms=now_ms))


def let_go_before(connection: sa.Connection, volume: Volume) -> Volume | None:
    """What a volume of vessl.yaml was when it was taken out of it: the same name, kind and place; None if never."""
    same = [volumes.c[name] == getattr(volume, name) for name in ("organization", "name", "cluster", "adopted")]
    same += [volumes.c.kind == volume.kind.value, volumes.c.declared.is_(True), volumes.c.ended_ms.is_not(None)]
    if volume.adopted:
        same.append(volumes.c.claim == volume.claim)
    query = sa.select(*_READ).where(*same).order_by(volumes.c.ended_ms.desc(), volumes.c.id).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _volume(row)


def revive_volume(connection: sa.Connection, volume: Volume) -> None:
    """A volume that was let go is back, as it now is."""
    connection.execute(
        volumes.update()
        .where(volumes.c.id == volume.id)
        .values(_values(volume) | {"slot": _slot(volume.organization, volume.name), "ended_ms": None})
    )


def clusters_with_claim(connection: sa.Connection, claim: str) -> frozenset[str]:
    """Clusters on which a claim of this name is a volume already, living or let go."""
    kept = sa.or_(volumes.c.slot.is_not(None), volumes.c.declared.is_(True))
    query = sa.select(volumes.c.cluster).where(volumes.c.claim == claim, kept).distinct()
    return frozenset(connection.execute(query).scalars())


def let_go(connection: sa.Connection, ids: Collection[str]) -> dict[str, Volume]:
    """Those of some volumes, by id, that were taken out of vessl.yaml and are not back."""
    ended = volumes.c.declared.is_(True), volumes.c.slot.is_(None)
    found = map(_volume, connection.execute(sa.select(*_READ).where(volumes.c.id.in_(ids), *ended)))
    return {volume.id: volume for volume in found}


def holder_of_claim(connection: sa.Connection, volume: Volume) -> Volume | None:
    """The living volume of the same organization that has a volume's claim on its cluster; None when none has."""
    here = [volumes.c[name] == getattr(volume, name) for name in ("organization", "cluster", "claim")]
    here.append(volumes.c.slot.is_not(None))
    row = connection.execute(sa.select(*_READ).where(*here).order_by(volumes.c.created_ms).limit(1)).one_or_none()
    return None if row is None else _volume(row)


def known_claims(connection: sa.Connection) -> frozenset[str]:
    """Every claim that has an owner: of living volumes, of living workspaces, and of volumes that were let go.

    What is let go was taken out of vessl.yaml; its files are kept until an operator deletes them.
    """
    kept = sa.or_(volumes.c.slot.is_not(None), volumes.c.declared.is_(True))
    claims = connection.execute(sa.select(volumes.c.claim).where(kept)).scalars()
    homes = connection.execute(sa.select(workspaces.c.id).where(workspaces.c.slot.is_not(None))).scalars()
    return frozenset((*claims, *map(home_claim, homes)))


class Mounted(NamedTuple):
    """A pending or running workspace that mounts a volume, and whose it is."""

    volume: str
    claim: str
    read_only: bool
    workspace_id: str
    title: str
    organization: str
    team: str
    person: str


def list_mounted(connection: sa.Connection, organization: str, name: str = "") -> tuple[Mounted, ...]:
    """What mounts an organization's volumes now, from the open admissions, or the volume of one name."""
    # names hold no wildcards; the text is only a first choice, what counts is in the plan
    mentioned = admissions.c.plan.like(f'%"volume":"{name}"%') if name else _ANY_VOLUME
    query = (
        sa.select(workspaces.c.id, workspaces.c.title, workspaces.c.team, workspaces.c.person, admissions.c.plan)
        .join(workspaces, workspaces.c.id == admissions.c.workspace_id)
        .where(admissions.c.ended_ms.is_(None), workspaces.c.organization == organization, mentioned)
        .order_by(admissions.c.created_ms, admissions.c.id)
    )
    return tuple(
        Mounted(m["volume"], m["claim"], m["read_only"], workspace_id, title, organization, team, person)
        for workspace_id, title, team, person, plan in connection.execute(query)
        for mount in json.loads(plan)["mounts"]
        if (m := _NO_CLAIM | mount)["volume"] and name in ("", m["volume"])
    )


def mounts_of(found: Iterable[Mounted], volume: Volume) -> tuple[Mounted, ...]:
    """Those that mount one volume, and not another that had its name before."""
    return tuple(m for m in found if m.volume == volume.name and m.claim in ("", volume.claim))


def open_plans(connection: sa.Connection, workspace_ids: Sequence[str]) -> tuple[WorkspacePlan, ...]:
    """What some workspaces were admitted with, those that are pending or running."""
    query = sa.select(admissions.c.plan).where(
        admissions.c.workspace_id.in_(workspace_ids), admissions.c.ended_ms.is_(None)
    )
    return tuple(map(WorkspacePlan.model_validate_json, connection.execute(query).scalars()))


def size_made_by(connection: sa.Connection, organization: str, person: str, team: str = "") -> int:
    """How many bytes of living volumes a person has made in an organization, or those that one team pays for."""
    found: Iterable[Volume] = list_volumes(connection, organization)
    return sum(
        volume.size_bytes
        for volume in found
        if volume.created_by == person
        and not volume.declared
        and volume.state is not VolumeState.DELETING
        and team in ("", volume.paying_team)
    )
