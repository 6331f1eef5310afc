"""Budgets while workspaces run: when a team or a person will have spent a day's or a month's budget, and the
pause of what runs once they have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from ..ledger import records
from ..ledger.events import Event, record_event
from ..ledger.limits import scopes_with_limits
from ..ledger.meters import close_days, read_meter, used_by_midnight
from ..ledger.outbox import enqueue
from ..ledger.schema import spans
from ..model.limits import Limits, month_start_ms, next_month_ms, spent_at_ms
from ..model.money import DAY_MS, format_credits
from ..model.usage import COMPUTE, day_start_ms
from .budgets import Whose, offered_limits, scopes_for
from .core import Core
from .credit_watch import pause, withdraw

Who = tuple[str, str, str]
"""(organization, team, person) of a scope; team and person may be empty."""


@dataclass(frozen=True)
class BudgetAhead:
    """When a budget is spent at the present rate.  Where that is after its day or month, it begins anew before."""

    at_ms: int
    renewed_ms: int
    whose: str
    what: str

    @property
    def why(self) -> str:
        """What to say once it is spent."""
        return f"{self.whose} has spent {self.what}"


def budgets_ahead(
    connection: sa.Connection, whose: Whose, sets: Iterable[Limits], currency: str, now_ms: int
) -> Iterator[BudgetAhead]:
    """Each budget of a scope that something uses up."""
    meter = read_meter(connection, whose.scope)
    for limits in sets:
        periods = (
            (limits.day_micros, day_start_ms(now_ms), day_start_ms(now_ms) + DAY_MS, "today"),
            (limits.month_micros, month_start_ms(now_ms), next_month_ms(now_ms), "this month"),
        )
        for limit, start_ms, renewed_ms, period in periods:
            if limit is None or not meter.usage.spans:
                continue
            before = used_by_midnight(connection, whose.scope, start_ms)
            at_ms = spent_at_ms(meter.usage, meter.closed_units, before, limit, now_ms)
            if at_ms is not None:
                yield BudgetAhead(at_ms, renewed_ms, whose.title, f"its {format_credits(limit, currency)} for {period}")


class BudgetWatch:
    """Looks at the budgets that something of a person in a team counts in."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def look(
        self, connection: sa.Connection, organization: str, team: str, person: str
    ) -> tuple[int, dict[Who, int | None]]:
        """Pause what a spent budget no longer pays for; returns how much was done, and the next instant of each scope.

        A budget that was raised, or a new day or month, takes back a pause that was not carried out yet.
        """
        body = self._core.offer.organizations.get(organization)
        if body is None:
            return 0, {}
        now_ms = self._core.clock.now_ms()
        close_days(connection, now_ms)
        every = scopes_for(organization, body, team, person)
        chosen = scopes_with_limits(connection, organization, [whose.scope for whose in every])
        acted, spent = 0, []
        instants: dict[Who, int | None] = {}
        for whose in every:
            sets = (offered_limits(body, whose), chosen.get(whose.scope, Limits()))
            next_ms, why = self._next(connection, whose, sets, body.currency, now_ms)
            instants[organization, whose.team, whose.person] = next_ms
            if why:
                spent.append(why)
                acted += self._pause(connection, organization, whose, why, now_ms)
        if not spent:
            acted += self._spare(connection, organization, team, person, now_ms)
        return acted, instants

    def _next(
        self, connection: sa.Connection, whose: Whose, sets: Iterable[Limits], currency: str, now_ms: int
    ) -> tuple[int | None, str]:
        """(when the first budget of a scope will be spent, "") or (None, why it is spent now)."""
        first_ms = None
        for ahead in budgets_ahead(connection, whose, sets, currency, now_ms):
            if ahead.at_ms <= now_ms:
                return None, ahead.why
            first_ms = ahead.at_ms if first_ms is None else min(first_ms, ahead.at_ms)
        return first_ms, ""

    def _pause(self, connection: sa.Connection, organization: str, whose: Whose, why: str, now_ms: int) -> int:
        policy = self._core.organization(organization).credits
        running = self._running(connection, organization, whose)
        paused = 0
        if not policy.dry_run:
            then = f"Resume when the budget is raised or renewed; ask {self._core.contact(organization)}."
            paused = sum(pause(connection, w, records.BUDGET, why, then, now_ms) for w in running)
        if paused:
            event = Event(now_ms, "budget-spent", f"{why}.", "service", organization, whose.team, whose.person)
            record_event(connection, event)
            count = "1 workspace is" if paused == 1 else f"{paused} workspaces are"
            body = f"{why}, so {count} being paused. Files at home and on volumes are kept."
            enqueue(connection, organization, now_ms, "budget-spent", f"{why}", body, policy.notify)
        return paused

    def _running(self, connection: sa.Connection, organization: str, whose: Whose) -> list[str]:
        query = sa.select(spans.c.workspace_id).where(
            spans.c.organization == organization,
            spans.c.ended_ms.is_(None),
            spans.c.kind == COMPUTE,
            spans.c.rate_micros_per_hour > 0,
        )
        if whose.team:
            query = query.where(spans.c.team == whose.team)
        if whose.person:
            query = query.where(spans.c.person == whose.person)
        return list(connection.execute(query).scalars())

    def _spare(self, connection: sa.Connection, organization: str, team: str, person: str, now_ms: int) -> int:
        """Take back pauses by budget in scopes where no budget is spent any more."""
        waiting = records.intended_workspaces(connection, organization, records.BUDGET)
        body = self._core.organization(organization)
        spared = 0
        for workspace in waiting:
            whose = scopes_for(organization, body, workspace.team, workspace.person)
            chosen = scopes_with_limits(connection, organization, [w.scope for w in whose])
            over = (
                self._next(
                    connection, w, (offered_limits(body, w), chosen.get(w.scope, Limits())), body.currency, now_ms
                )[1]
                for w in whose
            )
            if not any(over):
                withdraw(connection, workspace, "its budget was raised or renewed", now_ms)
                spared += 1
        return spared
