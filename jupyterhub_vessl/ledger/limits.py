"""Limits that people set on the page, and what a scope has used of its limits."""

from __future__ import annotations

import json
from collections.abc import Iterable

import sqlalchemy as sa

from ..model.limits import Limits, Use, month_start_ms, spent_micros
from ..model.usage import day_start_ms
from .meters import close_days, read_meter, used_by_midnight
from .prepared import Prepared
from .schema import budgets


def list_set_limits(connection: sa.Connection, organization: str) -> dict[str, Limits]:
    """All limits that were set on the page for an organization, by scope."""
    query = sa.select(budgets.c.scope, budgets.c.limits).where(budgets.c.organization == organization)
    return {scope: _limits(text) for scope, text in connection.execute(query.order_by(budgets.c.scope))}


def _limits(text: str) -> Limits:
    return Limits.model_construct(**dict.fromkeys(Limits.model_fields) | json.loads(text))


def save_limits(
    connection: sa.Connection, scope: str, organization: str, limits: Limits, actor: str, now_ms: int
) -> None:
    """Set the limits of a scope; empty ones are taken away."""
    connection.execute(budgets.delete().where(budgets.c.scope == scope))
    if not limits.empty:
        kept = {name: value for name in Limits.model_fields if (value := getattr(limits, name)) is not None}
        row = {"scope": scope, "organization": organization, "limits": json.dumps(kept)}
        connection.execute(budgets.insert().values(row | {"actor": actor, "at_ms": now_ms}))


def use_of(
    connection: sa.Connection, scope: str, held_micros: int, now_ms: int, *, day: bool = True, month: bool = True
) -> Use:
    """What a scope uses now; ``held_micros`` is what its open starts have reserved and not yet accrued.

    Without ``day`` or ``month`` what was spent in it is not looked up, and 0.
    """
    close_days(connection, now_ms)
    meter = read_meter(connection, scope)
    used = meter.used_units(now_ms)

    def spent(start_ms: int) -> int:
        return spent_micros(used, used_by_midnight(connection, scope, start_ms)) + held_micros

    return Use(
        spent(day_start_ms(now_ms)) if day else 0,
        spent(month_start_ms(now_ms)) if month else 0,
        meter.workspaces,
        meter.gpus,
        meter.storage_bytes,
    )


_FOUR = ("scope_1", "scope_2", "scope_3", "scope_4")
"""Something of a person in a team counts in so many scopes that can have limits."""
_SET_LIMITS = Prepared(
    sa.select(budgets.c.scope, budgets.c.limits).where(sa.or_(*(budgets.c.scope == sa.bindparam(n) for n in _FOUR)))
)


def scopes_with_limits(connection: sa.Connection, organization: str, scopes: Iterable[str]) -> dict[str, Limits]:
    """Those of some scopes that have limits set on the page."""
    wanted = list(scopes)
    if len(wanted) > len(_FOUR):
        found = list_set_limits(connection, organization)
        return {scope: found[scope] for scope in wanted if scope in found}
    names = dict.fromkeys(_FOUR, "") | dict(zip(_FOUR, wanted, strict=False))
    return {scope: _limits(text) for scope, text in _SET_LIMITS.run(connection, names)}
