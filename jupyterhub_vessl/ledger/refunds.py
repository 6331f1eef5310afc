"""Top-ups by their reference, and what of them was given back."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from .schema import transactions


@dataclass(frozen=True)
class PaidTopUp:
    """A recorded top-up."""

    id: str
    amount_micros: int


def top_up_by_reference(connection: sa.Connection, organization: str, reference: str) -> PaidTopUp | None:
    """The top-up with a payment reference, or None."""
    query = sa.select(transactions.c.id, transactions.c.amount_micros).where(
        transactions.c.organization == organization,
        transactions.c.kind == "top-up",
        transactions.c.source == reference,
    )
    row = connection.execute(query).first()
    return None if row is None else PaidTopUp(row.id, int(row.amount_micros))


def refunded_micros(connection: sa.Connection, organization: str, transaction_id: str) -> int:
    """What was given back of a top-up so far."""
    query = sa.select(sa.func.coalesce(sa.func.sum(-transactions.c.amount_micros), 0)).where(
        transactions.c.organization == organization,
        transactions.c.kind == "refund",
        transactions.c.corrects == transaction_id,
    )
    return int(connection.execute(query).scalar_one())
