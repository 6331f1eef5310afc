"""The ledger as people read it: movements, newest first, page by page, with the balance after each."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from .postings import CREDITS, account
from .schema import entries, transactions, workspaces


@dataclass(frozen=True)
class Movement:
    """One booked change of an organization's credits.  ``balance_micros`` is the booked balance after it."""

    serial: int
    id: str
    at_ms: int
    kind: str
    amount_micros: int
    balance_micros: int
    actor: str
    reason: str
    team: str
    person: str
    workspace_id: str
    workspace_title: str
    from_ms: int | None
    to_ms: int | None
    rate_micros_per_hour: int | None


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
    wallet = account(organization, CREDITS)
    running = (
        sa.select(
            entries.c.transaction_serial.label("serial"),
            entries.c.amount_micros,
            # PostgreSQL sums 64-bit integers into a numeric, which would come back as a Decimal
            sa.cast(sa.func.sum(entries.c.amount_micros).over(order_by=entries.c.serial), sa.BigInteger).label(
                "balance_micros"
            ),
        )
        .where(entries.c.account == wallet)
        .subquery()
    )
    query = (
        sa.select(
            transactions.c.serial,
            transactions.c.id,
            transactions.c.at_ms,
            transactions.c.kind,
            running.c.amount_micros,
            running.c.balance_micros,
            transactions.c.actor,
            transactions.c.reason,
            transactions.c.team,
            transactions.c.person,
            transactions.c.workspace_id,
            sa.func.coalesce(workspaces.c.title, "").label("workspace_title"),
            transactions.c.from_ms,
            transactions.c.to_ms,
            transactions.c.rate_micros_per_hour,
        )
        .join(running, running.c.serial == transactions.c.serial)
        .outerjoin(workspaces, workspaces.c.id == transactions.c.workspace_id)
        .where(transactions.c.organization == organization, *conditions)
    )
    if before is not None:
        query = query.where(transactions.c.serial < before)
    rows = connection.execute(query.order_by(transactions.c.serial.desc()).limit(limit))
    return tuple(Movement(**row._mapping) for row in rows)
