"""The books over time, for charts: the balance at each UTC midnight, and what was used on each UTC day.

Nothing here looks at single movements one by one.  Balances are taken back from the present one by one sum for
each day; what a scope used on a day is the difference of two closings (`ledger.meters`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from ..model.money import DAY_MS, HOUR_MS, Accrual, charge_micros
from ..model.usage import day_start_ms, units_between
from .meters import Meter, used_by_midnight
from .postings import balance_row
from .schema import closings, spans, transactions

SCOPES_AT_ONCE = 400
"""So many scopes are asked for in one query; databases bound the number of parameters."""


def first_movement_ms(connection: sa.Connection, organization: str) -> int | None:
    """When an organization's credits first moved; None when they never did."""
    query = sa.select(sa.func.min(transactions.c.at_ms)).where(transactions.c.organization == organization)
    found = connection.execute(query).scalar_one()
    return None if found is None else int(found)


def midnight_balances(
    connection: sa.Connection, organization: str, midnights_ms: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """(instant, balance in micro-credits) at some UTC midnights up to now, in their order; exact.

    The same as `history.balance_as_of` at each of them, in one look at what moved since the first: bookings are
    cut at midnights, so none crosses one.
    """
    if not midnights_ms:
        return ()
    day = (transactions.c.at_ms + (DAY_MS - 1)) // DAY_MS
    query = (
        sa.select(day.label("day"), sa.func.sum(transactions.c.amount_micros))
        .where(transactions.c.organization == organization, transactions.c.at_ms > min(midnights_ms))
        .group_by(day)
    )
    moved = {int(number) * DAY_MS: int(amount) for number, amount in connection.execute(query)}
    open_spans = connection.execute(
        sa.select(spans.c.rate_micros_per_hour, spans.c.started_ms, spans.c.settled_ms).where(
            spans.c.organization == organization, spans.c.ended_ms.is_(None), spans.c.settled_ms < max(midnights_ms)
        )
    ).all()
    booked = balance_row(connection, organization)[0]
    found = []
    for at_ms in midnights_ms:
        balance = booked - sum(amount for by_ms, amount in moved.items() if by_ms > at_ms)
        for rate, started_ms, settled_ms in open_spans:
            if settled_ms < at_ms:
                balance -= charge_micros(Accrual(rate, started_ms), settled_ms, at_ms)
        found.append((at_ms, balance))
    return tuple(found)


def daily_units(
    connection: sa.Connection, meters: Iterable[Meter], days_ms: Sequence[int], now_ms: int
) -> dict[str, tuple[int, ...]]:
    """What each scope used on each UTC day, in units (`model.usage`), by scope.

    ``days_ms`` are the midnights at which the days begin, one after the other; the last is today's, which counts
    up to now.  Days that have ended must have been closed (`meters.close_days`).
    """
    known = [m for m in meters if m.usage.rate_micros_per_hour or m.changed_ms > days_ms[0]]
    kept: dict[str, dict[int, int]] = {meter.scope: {} for meter in known}
    names = list(kept)
    for first in range(0, len(names), SCOPES_AT_ONCE):
        query = sa.select(closings.c.scope, closings.c.at_ms, closings.c.used_micros, closings.c.used_rest).where(
            closings.c.scope.in_(names[first : first + SCOPES_AT_ONCE]),
            closings.c.at_ms > days_ms[0],
            closings.c.at_ms <= days_ms[-1],
        )
        for scope, at_ms, used_micros, used_rest in connection.execute(query):
            kept[scope][at_ms] = int(used_micros) * HOUR_MS + int(used_rest)
    return {
        meter.scope: _differences(
            used_by_midnight(connection, meter.scope, days_ms[0]),
            [kept[meter.scope].get(at_ms) for at_ms in days_ms[1:]] + [meter.used_units(now_ms)],
        )
        for meter in known
    }


def _differences(level: int, levels: Iterable[int | None]) -> tuple[int, ...]:
    """How much each level is above the one before; None is a day without a closing, on which nothing was used."""
    found = []
    for following in levels:
        reached = level if following is None else following
        found.append(reached - level)
        level = reached
    return tuple(found)


def daily_units_of_items(
    connection: sa.Connection,
    organization: str,
    days_ms: Sequence[int],
    now_ms: int,
    *conditions: sa.ColumnElement[bool],
) -> dict[tuple[str, str], tuple[int, ...]]:
    """What spans that meet the conditions used on each UTC day, in units, by (kind, item).

    For a part of an organization, whose classes of usage have no meters; looks at each span that was open in
    these days once.
    """
    query = sa.select(
        spans.c.kind, spans.c.item, spans.c.rate_micros_per_hour, spans.c.started_ms, spans.c.ended_ms
    ).where(
        spans.c.organization == organization,
        sa.or_(spans.c.ended_ms.is_(None), spans.c.ended_ms > days_ms[0]),
        *conditions,
    )
    found: dict[tuple[str, str], list[int]] = {}
    for kind, item, rate, started_ms, ended_ms in connection.execute(query):
        units = found.setdefault((kind, item), [0] * len(days_ms))
        end_ms = min(now_ms, now_ms if ended_ms is None else ended_ms)
        at_ms = max(started_ms, days_ms[0])
        while at_ms < end_ms:
            until_ms = min(day_start_ms(at_ms) + DAY_MS, end_ms)
            units[(at_ms - days_ms[0]) // DAY_MS] += units_between(rate, at_ms, until_ms)
            at_ms = until_ms
    return {key: tuple(units) for key, units in found.items()}
