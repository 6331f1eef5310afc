"""The audit of one organization: what the audit of the whole database finds, and nothing of any other's."""

from __future__ import annotations

import sqlalchemy as sa

from .audit import AuditReport, Difference, audit, audit_usage
from .postings import account
from .schema import spans, transactions


def audit_organization(connection: sa.Connection, organization: str, now_ms: int) -> AuditReport:
    """The audit of one organization's books and usage; says nothing of any other's."""
    found = audit(connection)
    differences = (*found.differences, *audit_usage(connection, now_ms))
    prefix = account(organization, "")
    mine = transactions.c.organization == organization
    count = sa.select(sa.func.count()).select_from(transactions)
    return AuditReport(
        transactions=int(connection.execute(count.where(mine)).scalar_one()),
        balances_micros={
            name.removeprefix(prefix): micros
            for name, micros in sorted(found.balances_micros.items())
            if name.startswith(prefix)
        },
        differences=tuple(d for d in differences if _concerns(connection, organization, d)),
    )


def _concerns(connection: sa.Connection, organization: str, difference: Difference) -> bool:
    """Whether a difference is an organization's own; by what the audit calls it."""
    what = difference.what
    name = what.rsplit(" ", 1)[-1]
    if what.startswith("sum of transaction "):
        owner = sa.select(transactions.c.organization).where(transactions.c.serial == int(name))
    elif what.startswith("booked for span "):
        owner = sa.select(spans.c.organization).where(spans.c.id == name)
    elif what.startswith("booked for no span "):
        owner = sa.select(transactions.c.organization).where(transactions.c.span_id == name).limit(1)
    else:
        scope = what.removeprefix("meter ")
        return scope == organization or scope.startswith((f"{organization}/", f"{organization}: "))
    return connection.execute(owner).scalar() == organization
