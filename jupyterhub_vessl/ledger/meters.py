"""Meters: sums over the spans of an organization, a team, a person, a class of usage, so that no question has
to look at every span.

A meter is a cache.  It is written in the transaction of the span that moves it, and an audit makes it
again from the spans (`ledger.audit`).  Scopes are ``acme``, ``acme/team/vision``, ``acme/person/mia`` (all her teams),
``acme/member/vision/mia`` (in one team) and ``acme/class/compute/gpu/h100-1``.

At each UTC midnight that passed since the last change, what every active scope had used by then is kept in
``closings``: what was spent today or this month is a difference of two such sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from ..model.money import DAY_MS, HOUR_MS
from ..model.usage import OpenUsage, UsageClass, day_start_ms, micros_of
from .prepared import Prepared
from .schema import closings, marks, meters

EPOCH_MS = 1_767_225_600_000
"""2026-01-01 UTC.  Sums are kept relative to it, so that they fit 64 bits for a century of any real bill."""

CLOSED = "closed"
NOTHING_OPEN = OpenUsage()


@dataclass(frozen=True)
class Meter:
    """The sums of one scope.

    ``workspaces`` and ``gpus`` count open admissions (pending and running), ``storage_bytes`` provisioned
    volumes, ``usage`` the open spans and ``closed_units`` what ended spans had accrued when they ended.
    """

    scope: str
    organization: str
    workspaces: int = 0
    gpus: int = 0
    storage_bytes: int = 0
    usage: OpenUsage = NOTHING_OPEN
    open_settled_micros: int = 0
    closed_units: int = 0
    changed_ms: int = 0

    def used_units(self, at_ms: int) -> int:
        """All that was ever used in this scope, in units; valid from the last change on."""
        return self.closed_units + self.usage.units(at_ms)


@dataclass(frozen=True)
class Change:
    """What an event adds to the meters of its scopes."""

    workspaces: int = 0
    gpus: int = 0
    storage_bytes: int = 0
    spans: int = 0
    rate_micros_per_hour: int = 0
    origin_units: int = 0
    open_settled_micros: int = 0
    closed_units: int = 0


def team_scope(organization: str, team: str) -> str:
    """The scope of a team."""
    return f"{organization}/team/{team}"


def person_scope(organization: str, person: str) -> str:
    """The scope of a person in all teams of an organization."""
    return f"{organization}/person/{person}"


def member_scope(organization: str, team: str, person: str) -> str:
    """The scope of a person in one team."""
    return f"{organization}/member/{team}/{person}"


def class_scope(organization: str, usage: UsageClass) -> str:
    """The scope of a class of usage."""
    return f"{organization}/class/{usage.key()}"


def scopes_of(organization: str, team: str, person: str, usage: UsageClass | None = None) -> tuple[str, ...]:
    """Every scope that something counts in.  Storage of a team belongs to no person, and ``team`` may be empty."""
    scopes = [organization]
    if team:
        scopes.append(team_scope(organization, team))
    if person:
        scopes += [person_scope(organization, person), member_scope(organization, team, person)]
    if usage is not None:
        scopes.append(class_scope(organization, usage))
    return tuple(scopes)


_COLUMNS = tuple(column.name for column in meters.c)
_READ = Prepared(sa.select(meters).where(meters.c.scope == sa.bindparam("of")))
_LIST = Prepared(  # not LIKE: names may hold its wildcards
    sa.select(meters)
    .where(meters.c.scope >= sa.bindparam("first"), meters.c.scope < sa.bindparam("last"))
    .order_by(meters.c.scope)
)
_INSERT = Prepared(meters.insert().values({name: sa.bindparam(name) for name in _COLUMNS}))
_UPDATE = Prepared(
    meters.update()
    .where(meters.c.scope == sa.bindparam("of"))
    .values({name: sa.bindparam(name) for name in _COLUMNS[2:]})
)


def _meter(row: sa.Row[Any]) -> Meter:
    values = tuple(row)
    rate, origin = int(values[7]), int(values[8]) * HOUR_MS + int(values[9]) - int(values[7]) * EPOCH_MS
    return Meter(
        scope=values[0],
        organization=values[1],
        workspaces=int(values[2]),
        gpus=int(values[3]),
        storage_bytes=int(values[4]),
        usage=OpenUsage(int(values[5]), rate, origin),
        open_settled_micros=int(values[6]),
        closed_units=int(values[10]) * HOUR_MS + int(values[11]),
        changed_ms=int(values[12]),
    )


def _values(meter: Meter) -> dict[str, Any]:
    usage = meter.usage
    open_micros, open_rest = micros_of(usage.origin_units + usage.rate_micros_per_hour * EPOCH_MS)
    closed_micros, closed_rest = micros_of(meter.closed_units)
    return {
        "scope": meter.scope,
        "of": meter.scope,
        "organization": meter.organization,
        "workspaces": meter.workspaces,
        "gpus": meter.gpus,
        "storage_bytes": meter.storage_bytes,
        "open_spans": usage.spans,
        "open_settled_micros": meter.open_settled_micros,
        "rate_micros_per_hour": usage.rate_micros_per_hour,
        "open_micros": open_micros,
        "open_rest": open_rest,
        "closed_micros": closed_micros,
        "closed_rest": closed_rest,
        "changed_ms": meter.changed_ms,
    }


def read_meter(connection: sa.Connection, scope: str) -> Meter:
    """The meter of a scope; all zeros when nothing was ever counted in it."""
    row = _READ.run(connection, {"of": scope}).one_or_none()
    return Meter(scope, scope.split("/", 1)[0]) if row is None else _meter(row)


def list_meters(connection: sa.Connection, prefix: str = "") -> tuple[Meter, ...]:
    """Meters whose scope begins with a prefix, such as ``acme/class/``."""
    return tuple(map(_meter, _LIST.run(connection, {"first": prefix, "last": prefix + "\U0010ffff"})))


def organizations_with_meters(connection: sa.Connection) -> tuple[str, ...]:
    """Every organization in which anything was ever counted."""
    query = sa.select(meters.c.scope).where(meters.c.scope == meters.c.organization).order_by(meters.c.scope)
    return tuple(connection.execute(query).scalars())


def count_open_spans(connection: sa.Connection) -> int:
    """How many spans are being billed, of all organizations."""
    query = sa.select(sa.func.coalesce(sa.func.sum(meters.c.open_spans), 0))
    return int(connection.execute(query.where(meters.c.scope == meters.c.organization)).scalar_one())


def move_meters(connection: sa.Connection, scopes: Iterable[str], change: Change, now_ms: int) -> None:
    """Add a change to the meters of some scopes; days that ended since the last change are closed first."""
    close_days(connection, now_ms)
    known: list[dict[str, Any]] = []
    fresh: list[dict[str, Any]] = []
    for scope in scopes:
        row = _READ.run(connection, {"of": scope}).one_or_none()
        before = Meter(scope, scope.split("/", 1)[0]) if row is None else _meter(row)
        usage = before.usage
        after = replace(
            before,
            workspaces=before.workspaces + change.workspaces,
            gpus=before.gpus + change.gpus,
            storage_bytes=before.storage_bytes + change.storage_bytes,
            usage=OpenUsage(
                usage.spans + change.spans,
                usage.rate_micros_per_hour + change.rate_micros_per_hour,
                usage.origin_units + change.origin_units,
            ),
            open_settled_micros=before.open_settled_micros + change.open_settled_micros,
            closed_units=before.closed_units + change.closed_units,
            changed_ms=max(before.changed_ms, now_ms),
        )
        (fresh if row is None else known).append(_values(after))
    _UPDATE.run_many(connection, known)
    _INSERT.run_many(connection, fresh)


# -- days ----------------------------------------------------------------------


_CLOSED = Prepared(sa.select(marks.c.value_ms).where(marks.c.name == sa.bindparam("of")))


def close_days(connection: sa.Connection, now_ms: int) -> int:
    """Keep what every active scope had used by each midnight that passed; returns how many midnights that were.

    Must come before any change of a meter, because it reads what was open at the midnight from what is open.
    """
    today_ms = day_start_ms(now_ms)
    row = _CLOSED.run(connection, {"of": CLOSED}).one_or_none()
    if row is None:
        connection.execute(marks.insert().values(name=CLOSED, value_ms=today_ms))
        return 0
    last_ms = int(row[0])
    if today_ms <= last_ms:
        return 0
    days = range(last_ms + DAY_MS, today_ms + 1, DAY_MS)
    for meter in list_meters(connection):
        active = meter.usage.rate_micros_per_hour != 0
        wanted = days if active else days[:1] if meter.changed_ms > last_ms else ()
        for at_ms in wanted:
            keep_closings(connection, at_ms, {meter.scope: meter.used_units(at_ms)})
    connection.execute(marks.update().where(marks.c.name == CLOSED).values(value_ms=today_ms))
    return len(days)


_KEEP = Prepared(closings.insert().values({c.name: sa.bindparam(c.name) for c in closings.c}))


def keep_closings(connection: sa.Connection, at_ms: int, units: Mapping[str, int]) -> None:
    """Keep what scopes had used by a midnight, in units."""
    rows = []
    for scope, used in units.items():
        used_micros, used_rest = micros_of(used)
        rows.append({"scope": scope, "at_ms": at_ms, "used_micros": used_micros, "used_rest": used_rest})
    _KEEP.run_many(connection, rows)


def give_back_after(connection: sa.Connection, scopes: Iterable[str], rate: int, end_ms: int, now_ms: int) -> None:
    """Take out of the closings what a span was counted for after its end, which was learnt late."""
    if day_start_ms(end_ms) == day_start_ms(now_ms):
        return
    late = closings.c.scope.in_(list(scopes)) & (closings.c.at_ms > end_ms)
    for row in connection.execute(sa.select(closings).where(late)).all():
        units = int(row.used_micros) * HOUR_MS + int(row.used_rest) - rate * (row.at_ms - end_ms)
        micros, rest = micros_of(units)
        connection.execute(
            closings.update()
            .where(closings.c.scope == row.scope, closings.c.at_ms == row.at_ms)
            .values(used_micros=micros, used_rest=rest)
        )


_CLOSING = Prepared(
    sa.select(closings.c.used_micros, closings.c.used_rest)
    .where(closings.c.scope == sa.bindparam("of"), closings.c.at_ms <= sa.bindparam("by"))
    .order_by(closings.c.at_ms.desc())
    .limit(sa.literal_column("1"))
)


def used_by_midnight(connection: sa.Connection, scope: str, midnight_ms: int) -> int:
    """What a scope had used by a UTC midnight that is not after today, in units."""
    row = next(iter(_CLOSING.run(connection, {"of": scope, "by": midnight_ms})), None)
    return 0 if row is None else int(row[0]) * HOUR_MS + int(row[1])


def replace_meters(connection: sa.Connection, found: Iterable[Meter]) -> None:
    """Throw all meters away and keep these."""
    connection.execute(meters.delete())
    _INSERT.run_many(connection, [_values(meter) for meter in found])
