"""Where each organization is in running out of credits, and what of that was carried out."""

from __future__ import annotations

import json

import sqlalchemy as sa

from ..model.exhaustion import Cycle
from ..model.lifecycle import EndReason, State
from .prepared import Prepared
from .schema import admissions, cycles, workspaces

_READ = Prepared(
    sa.select(cycles.c.exhausted_ms, cycles.c.hourly_ms, cycles.c.told).where(
        cycles.c.organization == sa.bindparam("of")
    )
)


def read_cycle(connection: sa.Connection, organization: str) -> Cycle | None:
    """What is remembered of an organization; None when nothing was looked at yet."""
    row = _READ.run(connection, {"of": organization}).one_or_none()
    return None if row is None else Cycle(row[0], row[1], frozenset(json.loads(row[2])))


def save_cycle(connection: sa.Connection, organization: str, cycle: Cycle) -> None:
    """Remember."""
    values = {
        "exhausted_ms": cycle.exhausted_ms,
        "hourly_ms": cycle.hourly_ms,
        "told": json.dumps(sorted(cycle.told)),
    }
    updated = connection.execute(cycles.update().where(cycles.c.organization == organization).values(values))
    if not updated.rowcount:
        connection.execute(cycles.insert().values(values | {"organization": organization}))


def paused_by_credits(connection: sa.Connection, organization: str, since_ms: int) -> tuple[str, ...]:
    """Ids of workspaces that ended for want of credits since an instant and were not started again."""
    query = (
        sa.select(workspaces.c.id)
        .join(admissions, admissions.c.id == workspaces.c.admission_id)
        .where(
            workspaces.c.organization == organization,
            workspaces.c.state == State.PAUSED.value,
            workspaces.c.intent == "",
            admissions.c.end_reason == EndReason.CREDITS.value,
            admissions.c.ended_ms >= since_ms,
        )
        .order_by(workspaces.c.id)
    )
    return tuple(connection.execute(query).scalars())
