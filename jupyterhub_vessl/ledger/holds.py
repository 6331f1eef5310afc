"""Holds: credits that a start has reserved, so that starts at the same moment cannot spend the same credits.

A hold is the price of a workspace's first moments (`CreditPolicy.reserve`).  It is made with the admission, in
the same transaction as the check, and shrinks by what the workspace accrues once it runs; so a balance minus
its holds never counts anything twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ..model.money import Accrual, charge_micros, cumulative_micros
from .prepared import Prepared
from .schema import holds

SECOND_MS = 1000


@dataclass(frozen=True)
class Hold:
    """What one start has reserved; ``started_ms`` is when its compute began, None while it is pending."""

    admission_id: str
    organization: str
    team: str
    person: str
    amount_micros: int
    rate_micros_per_hour: int
    started_ms: int | None
    until_ms: int | None

    def left_micros(self, at_ms: int) -> int:
        """What is still reserved."""
        if self.started_ms is None:
            return self.amount_micros
        accrued = cumulative_micros(Accrual(self.rate_micros_per_hour, self.started_ms), at_ms)
        return max(0, self.amount_micros - accrued)


def reserve_micros(rate_micros_per_hour: int, reserve_seconds: int) -> int:
    """The price of the first ``reserve_seconds`` at a rate."""
    return charge_micros(Accrual(rate_micros_per_hour, 0), 0, reserve_seconds * SECOND_MS)


_LIST = Prepared(
    sa.select(holds).where(
        holds.c.organization == sa.bindparam("of"),
        sa.or_(holds.c.until_ms.is_(None), holds.c.until_ms > sa.bindparam("now")),
    )
)
_FORGET = Prepared(
    holds.delete().where(holds.c.organization == sa.bindparam("of"), holds.c.until_ms <= sa.bindparam("now"))
)
_PLACE = Prepared(holds.insert().values({c.name: sa.bindparam(c.name) for c in holds.c}))


def list_holds(connection: sa.Connection, organization: str, now_ms: int) -> tuple[Hold, ...]:
    """The holds of an organization that still reserve something."""
    return tuple(Hold(*row) for row in _LIST.run(connection, {"of": organization, "now": now_ms}))


def place_hold(connection: sa.Connection, hold: Hold, now_ms: int) -> None:
    """Reserve; what others had reserved and used up by now is forgotten."""
    _FORGET.run(connection, {"of": hold.organization, "now": now_ms})
    if hold.amount_micros:
        _PLACE.run(connection, vars(hold))


def start_hold(connection: sa.Connection, admission_id: str, now_ms: int, reserve_seconds: int) -> None:
    """Its compute begins now."""
    until_ms = now_ms + reserve_seconds * SECOND_MS
    connection.execute(
        holds.update().where(holds.c.admission_id == admission_id).values(started_ms=now_ms, until_ms=until_ms)
    )


def release_hold(connection: sa.Connection, admission_id: str) -> None:
    """It is over, whether or not it ran."""
    connection.execute(holds.delete().where(holds.c.admission_id == admission_id))
