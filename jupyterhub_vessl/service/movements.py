"""The ledger as people read it: what each of them may see of an organization's movements, page by page."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ..ledger import schema
from ..ledger.history import Movement, movements
from ..ledger.records import titles_of
from ..ledger.refunds import refunded_micros, top_up_by_reference
from ..ledger.schema import transactions
from ..ledger.spans import COMPUTE, Span, open_spans
from ..ledger.statements import USAGE_KINDS
from ..model.errors import BadInput, NotAllowed, NotFound
from ..model.identity import Principal, Role
from ..model.money import cumulative_micros
from ..model.wire_credits import LedgerLine, LedgerPage
from .core import Core

PAGE_LINES = 50
OPEN_LINES_MAX = 200
"""Usage that still runs is shown on the first page, at most so much of it."""
KINDS = ("usage", "top-up", "refund", "grant", "expiry", "void", "correction", "opening")
"""Kinds of movements that people see."""


@dataclass(frozen=True)
class Wanted:
    """Which movements to list: empty or None is all of them.

    ``from_ms`` is the first instant, ``to_ms`` the first one that is not wanted any more.
    """

    kind: str = ""
    team: str = ""
    user: str = ""
    from_ms: int | None = None
    to_ms: int | None = None

    def check(self) -> None:
        """Raises `BadInput` for a kind that there is not."""
        if self.kind and self.kind not in KINDS:
            raise BadInput(f"A kind is one of {', '.join(KINDS)}.", field="kind")

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """As conditions on `transactions`."""
        found: list[sa.ColumnElement[bool]] = []
        if self.kind:
            found.append(transactions.c.kind == self.kind)
        if self.team:
            found.append(transactions.c.team == self.team)
        if self.user:
            found.append(transactions.c.person == self.user)
        if self.from_ms is not None:
            found.append(transactions.c.at_ms >= self.from_ms)
        if self.to_ms is not None:
            found.append(transactions.c.at_ms < self.to_ms)
        return found

    def wants(self, span: Span, now_ms: int) -> bool:
        """Whether usage that goes on is wanted; it counts as of now."""
        return (
            self.kind in ("", "usage")
            and self.team in ("", span.team)
            and self.user in ("", span.person)
            and (self.from_ms is None or self.from_ms <= now_ms)
            and (self.to_ms is None or self.to_ms > now_ms)
        )


EVERYTHING = Wanted()


class Movements:
    """Lists movements."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def ledger(
        self,
        principal: Principal,
        organization: str,
        *,
        cursor: str | None = None,
        limit: int = PAGE_LINES,
        wanted: Wanted = EVERYTHING,
    ) -> LedgerPage:
        """Movements that are wanted, newest first, usage that still runs on top of the first page.

        An admin sees all, with the balance after each; a manager top-ups and the own teams' usage; everybody
        else top-ups and the own usage.
        """
        self._core.check_member(principal, organization)
        wanted.check()
        before = parse_cursor(cursor)
        conditions = [*visible(principal, organization), *wanted.conditions()]
        limit = min(max(limit, 1), 200)

        def work(connection: sa.Connection) -> LedgerPage:
            found = movements(connection, organization, *conditions, before=before, limit=limit + 1)
            admin = principal.is_admin(organization)
            lines = [_line(movement, admin) for movement in found[:limit]]
            if before is None:
                lines = [*self._open_lines(connection, principal, organization, wanted), *lines]
            following = str(found[limit - 1].serial) if len(found) > limit else None
            return LedgerPage(lines=tuple(lines), next=following, at_ms=self._core.clock.now_ms())

        return await self._core.database.run(work)

    async def top_up(self, principal: Principal, organization: str, reference: str) -> tuple[int, int]:
        """(amount, what of it was not given back yet) of the top-up with a payment reference; for admins."""
        self._core.check_member(principal, organization)
        if not principal.is_admin(organization):
            raise NotAllowed("Only an admin of the organization can refund.")

        def work(connection: sa.Connection) -> tuple[int, int]:
            paid = top_up_by_reference(connection, organization, reference)
            if paid is None:
                raise NotFound(f"There is no top-up with the reference {reference!r}.")
            return paid.amount_micros, paid.amount_micros - refunded_micros(connection, organization, paid.id)

        return await self._core.database.run(work)

    def _open_lines(
        self, connection: sa.Connection, principal: Principal, organization: str, wanted: Wanted
    ) -> list[LedgerLine]:
        now_ms = self._core.clock.now_ms()
        mine = [schema.spans.c.rate_micros_per_hour > 0]
        if not principal.is_admin(organization):
            teams = managed_teams(principal, organization)
            mine.append(sa.or_(schema.spans.c.person == principal.name, schema.spans.c.team.in_(teams)))
        spans = open_spans(connection, organization, None, *mine, limit=OPEN_LINES_MAX)
        spans = tuple(s for s in spans if wanted.wants(s, now_ms))
        titles = titles_of(connection, [span.workspace_id for span in spans])
        return [_open_line(span, titles.get(span.workspace_id, ""), now_ms) for span in spans]


def _open_line(span: Span, title: str, now_ms: int) -> LedgerLine:
    return LedgerLine(
        id=span.id,
        at_ms=now_ms,
        recorded_ms=now_ms,
        kind="usage",
        amount_micros=span.settled_micros - cumulative_micros(span.accrual, now_ms),
        actor=span.person or "service",
        reason="running" if span.kind == COMPUTE else "stored",
        source="span",
        item=span.item,
        team=span.team,
        user=span.person,
        workspace_id=span.workspace_id,
        workspace_title=title,
        from_ms=span.settled_ms,
        to_ms=None,
        rate_micros_per_hour=span.rate_micros_per_hour,
        open=True,
    )


def parse_cursor(cursor: str | None) -> int | None:
    """The serial in a cursor; raises `BadInput` for anything that is not one of ours."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise BadInput("The cursor is not one of ours.", hint="Start from the first page.", field="cursor")
    return int(cursor)


def managed_teams(principal: Principal, organization: str) -> list[str]:
    """The teams of an organization that a person manages."""
    return [
        m.team
        for m in principal.memberships
        if m.organization == organization and m.role is Role.MANAGER and m.team is not None
    ]


def visible(principal: Principal, organization: str) -> list[sa.ColumnElement[bool]]:
    """Conditions on `transactions` that leave what a person may see of an organization's movements."""
    if principal.is_admin(organization):
        return []
    teams = managed_teams(principal, organization)
    return [
        sa.or_(
            transactions.c.kind.not_in(USAGE_KINDS),
            transactions.c.person == principal.name,
            transactions.c.team.in_(teams),
        )
    ]


def _line(movement: Movement, admin: bool) -> LedgerLine:
    return LedgerLine(
        id=movement.id,
        at_ms=movement.at_ms,
        recorded_ms=movement.recorded_ms,
        kind=movement.kind,
        amount_micros=movement.amount_micros,
        balance_micros=movement.balance_micros if admin else None,
        actor=movement.actor,
        reason=movement.reason,
        source=movement.source,
        item=movement.item,
        team=movement.team,
        user=movement.person,
        workspace_id=movement.workspace_id,
        workspace_title=movement.workspace_title,
        from_ms=movement.from_ms,
        to_ms=movement.to_ms,
        rate_micros_per_hour=movement.rate_micros_per_hour,
    )
