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


@dataclass(frozen=True)
class Held:
    """What is reserved now, in micro-credits: in an organization, a team, by a person, and by them in that team."""

    organization: int
    team: int
    person: int
    member: int

    def within(self, *, team: bool, person: bool) -> int:
        """In the scope of the team, of the person, of both, or (neither) of the organization."""
        if team:
            return self.member if person else self.team
        return self.person if person else self.organization


def _sum_where(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    chosen = sa.case((sa.and_(*conditions), holds.c.amount_micros), else_=0) if conditions else holds.c.amount_micros
    return sa.func.coalesce(sa.func.sum(chosen), 0)


_OF_TEAM, _OF_PERSON = holds.c.team == sa.bindparam("team"), holds.c.person == sa.bindparam("person")
_PENDING = Prepared(
    sa.select(_sum_where(), _sum_where(_OF_TEAM), _sum_where(_OF_PERSON), _sum_where(_OF_TEAM, _OF_PERSON)).where(
        holds.c.organization == sa.bindparam("of"), holds.c.until_ms.is_(None)
    )
)
_RUNNING = Prepared(
    sa.select(holds).where(holds.c.organization == sa.bindparam("of"), holds.c.until_ms > sa.bindparam("now"))
)


def held(connection: sa.Connection, organization: str, team: str, person: str, now_ms: int) -> Held:
    """What open starts have reserved in each scope that a start by a person in a team counts in."""
    sums = [int(n) for n in _PENDING.run(connection, {"of": organization, "team": team, "person": person}).all()[0]]
    for row in _RUNNING.run(connection, {"of": organization, "now": now_ms}):
        hold = Hold(*row)
        left, same_team, same_person = hold.left_micros(now_ms), hold.team == team, hold.person == person
        counts = (True, same_team, same_person, same_team and same_person)
        sums = [total + left * counted for total, counted in zip(sums, counts, strict=True)]
    return Held(*sums)


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
