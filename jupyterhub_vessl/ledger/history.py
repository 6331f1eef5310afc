"""The ledger as people read it: movements, newest first, page by page, with the balance after each; and the
balance at any past instant."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ..model.money import DAY_MS, Accrual, charge_micros
from .prepared import Prepared
from .schema import spans, transactions, workspaces

MOVING = transactions.c.kind != "draw"
"""What moves an organization's credits; what a grant pays to the wallet stays within them."""


@dataclass(frozen=True)
class Movement:
    """One booked change of an organization's credits.  ``balance_micros`` is the booked balance after it."""

    serial: int
    id: str
    at_ms: int
    recorded_ms: int
    kind: str
    amount_micros: int
    balance_micros: int
    actor: str
    reason: str
    source: str
    team: str
    person: str
    workspace_id: str
    workspace_title: str
    item: str
    from_ms: int | None
    to_ms: int | None
    rate_micros_per_hour: int | None


_TAKEN = (
    "serial",
    "id",
    "at_ms",
    "recorded_ms",
    "kind",
    "amount_micros",
    "balance_micros",
    "actor",
    "reason",
    "source",
    "team",
    "person",
    "workspace_id",
    "item",
    "from_ms",
    "to_ms",
    "rate_micros_per_hour",
)
COLUMNS = (
    *(transactions.c[name] for name in _TAKEN),
    sa.func.coalesce(workspaces.c.title, "").label("workspace_title"),
)
WITH_TITLES = transactions.outerjoin(workspaces, workspaces.c.id == transactions.c.workspace_id)


def movements(
    connection: sa.Connection,
    organization: str,
    *conditions: sa.ColumnElement[bool],
    before: int | None = None,
    limit: int = 50,
) -> tuple[Movement, ...]:
    """Movements of an organization's credits, newest first.

    ``conditions`` narrow what is listed, not what the balances count; ``before`` is the serial of the last
    movement of the page before.
    """
    query = (
        sa.select(*COLUMNS)
        .select_from(WITH_TITLES)
        .where(transactions.c.organization == organization, MOVING, *conditions)
    )
    if before is not None:
        query = query.where(transactions.c.serial < before)
    rows = connection.execute(query.order_by(transactions.c.serial.desc()).limit(limit))
    return tuple(Movement(**row._mapping) for row in rows)


_OF: sa.BindParameter[str] = sa.bindparam("of")
_AT: sa.BindParameter[int] = sa.bindparam("at")
_BOOKED = Prepared(
    sa.select(sa.func.coalesce(sa.func.sum(transactions.c.amount_micros), sa.literal_column("0"))).where(
        transactions.c.organization == _OF, transactions.c.at_ms <= _AT
    )
)
_ACROSS = Prepared(  # no booking of usage is longer than a day
    sa.select(spans.c.rate_micros_per_hour, spans.c.started_ms, transactions.c.from_ms)
    .join(spans, spans.c.id == transactions.c.span_id)
    .where(
        transactions.c.organization == _OF,
        transactions.c.kind == sa.literal_column("'usage'"),
        transactions.c.at_ms > _AT,
        transactions.c.at_ms <= sa.bindparam("day_after"),
        transactions.c.from_ms < _AT,
    )
)
_OPEN_THEN = Prepared(
    sa.select(spans.c.rate_micros_per_hour, spans.c.started_ms, spans.c.settled_ms).where(
        spans.c.organization == _OF, spans.c.ended_ms.is_(None), spans.c.settled_ms < _AT
    )
)


def balance_as_of(connection: sa.Connection, organization: str, at_ms: int) -> int:
    """An organization's balance at any instant up to now, to the micro-credit.

    What was booked for an interval that contains the instant counts up to it, and so does what open spans had
    accrued and is not booked yet.  What is learnt later about the past is booked when it is learnt, so the
    answer for a past instant only changes when a span turns out to have ended before it was booked.
    """
    values = {"of": organization, "at": at_ms, "day_after": at_ms + DAY_MS}
    balance = int(_BOOKED.run(connection, values).scalar_one())
    for rate, started_ms, from_ms in (*_ACROSS.run(connection, values), *_OPEN_THEN.run(connection, values)):
        balance -= charge_micros(Accrual(rate, started_ms), from_ms, at_ms)
    return balance
