"""Credits as people use them: the balance, the ledger, and top-ups."""

from __future__ import annotations

import sqlalchemy as sa

from ..ledger.events import Event, record_event
from ..ledger.history import Movement, movements
from ..ledger.postings import CREDITS, PAYMENTS, Transaction, post, remember, remembered
from ..ledger.records import find_workspaces
from ..ledger.schema import transactions, workspaces
from ..ledger.spans import credit_snapshot, open_spans
from ..model.errors import BadInput, NotAllowed, NotFound
from ..model.identity import Principal, Role
from ..model.lifecycle import empty_ms, exhaustion_deadline_ms
from ..model.money import cumulative_micros, format_credits, parse_credit_micros
from ..model.wire import CreditsView, LedgerLine, LedgerPage, TopUp, TopUpRequest
from .core import Core

PAGE_LINES = 50


class Credits:
    """Reads and adds to the organizations' credits."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def balance(self, principal: Principal, organization: str) -> CreditsView:
        """The balance now; for everybody who belongs to the organization."""
        self._check_member(principal, organization)
        return await self._core.database.run(lambda c: self.view(c, organization))

    def view(self, connection: sa.Connection, organization: str) -> CreditsView:
        """An organization's credits at this instant, inside a transaction."""
        body, now_ms = self._core.organization(organization), self._core.clock.now_ms()
        snapshot = credit_snapshot(connection, organization, body.currency)
        return CreditsView(
            organization=organization,
            title=body.title,
            currency=body.currency,
            contact=self._core.contact(organization),
            balance_micros=snapshot.balance_micros(now_ms),
            rate_micros_per_hour=snapshot.rate_micros_per_hour,
            buffer_micros=body.credits.buffer_micros,
            minimum_top_up_micros=body.credits.minimum_top_up_micros,
            empty_ms=empty_ms(snapshot, now_ms),
            pause_ms=exhaustion_deadline_ms(snapshot, body.credits, now_ms),
            at_ms=now_ms,
        )

    async def top_up(self, principal: Principal, organization: str, request: TopUpRequest) -> TopUp:
        """Add credits that were paid for.  The same reference with the same body is recorded once.

        Raises `NotFound` for another organization, `NotAllowed` for anybody but its admins, `BadInput` for an
        amount that is not positive or below the minimum, `Conflict` for a reference used otherwise.
        """
        self._check_member(principal, organization)
        if not principal.is_admin(organization):
            raise NotAllowed("Only an admin of the organization can top up.")
        body = self._core.organization(organization)
        amount = parse_credit_micros(request.amount)
        if amount <= 0:
            raise BadInput("A top-up is more than 0.", field="amount")
        if amount < body.credits.minimum_top_up_micros:
            least = format_credits(body.credits.minimum_top_up_micros, body.currency)
            raise BadInput(f"A top-up is at least {least}.", field="amount")
        result = await self._core.database.run(lambda c: self._top_up(c, principal, organization, amount, request))
        self._core.bell.ring()
        return result

    def _top_up(
        self, connection: sa.Connection, principal: Principal, organization: str, amount: int, request: TopUpRequest
    ) -> TopUp:
        key = f"top-up:{organization}:{request.reference}"
        command = {"amount_micros": amount, "note": request.note}
        answer = remembered(connection, key, command)
        if answer is None:
            now_ms = self._core.clock.now_ms()
            transaction = Transaction(
                organization=organization,
                kind="top-up",
                at_ms=now_ms,
                recorded_ms=now_ms,
                actor=principal.name,
                reason=request.note or f"Payment {request.reference}",
                source=request.reference,
            )
            transaction_id = post(connection, transaction, {CREDITS: amount, PAYMENTS: -amount})
            answer = {"id": transaction_id, "amount_micros": amount, "at_ms": now_ms}
            remember(connection, key, command, answer, now_ms)
            shown = format_credits(amount, self._core.organization(organization).currency)
            message = f"{principal.name} topped up {shown}."
            record_event(connection, Event(now_ms, "top-up", message, principal.name, organization))
        return TopUp(**answer, credits=self.view(connection, organization))

    async def ledger(
        self, principal: Principal, organization: str, *, cursor: str | None = None, limit: int = PAGE_LINES
    ) -> LedgerPage:
        """Movements, newest first, usage that still runs on top of the first page.

        An admin sees all, with the balance after each; a manager top-ups and the own teams' usage; everybody
        else top-ups and the own usage.
        """
        self._check_member(principal, organization)
        before = _parse_cursor(cursor)
        limit = min(max(limit, 1), 200)

        def work(connection: sa.Connection) -> LedgerPage:
            found = movements(
                connection, organization, *_visible(principal, organization), before=before, limit=limit + 1
            )
            admin = principal.is_admin(organization)
            lines = [_line(movement, admin) for movement in found[:limit]]
            if before is None:
                lines = [*self._open_lines(connection, principal, organization), *lines]
            following = str(found[limit - 1].serial) if len(found) > limit else None
            return LedgerPage(lines=tuple(lines), next=following, at_ms=self._core.clock.now_ms())

        return await self._core.database.run(work)

    def _open_lines(self, connection: sa.Connection, principal: Principal, organization: str) -> list[LedgerLine]:
        now_ms = self._core.clock.now_ms()
        spans = [
            span
            for span in open_spans(connection, organization)
            if span.person == principal.name or principal.manages(organization, span.team)
        ]
        ids = [span.workspace_id for span in spans]
        titles = {w.id: w.title for w in find_workspaces(connection, workspaces.c.id.in_(ids))}
        return [
            LedgerLine(
                id=span.id,
                at_ms=now_ms,
                kind="usage",
                amount_micros=span.settled_micros - cumulative_micros(span.accrual, now_ms),
                actor=span.person,
                reason="running" if span.kind == "compute" else "stored",
                team=span.team,
                user=span.person,
                workspace_id=span.workspace_id,
                workspace_title=titles.get(span.workspace_id, ""),
                from_ms=span.settled_ms,
                to_ms=None,
                rate_micros_per_hour=span.rate_micros_per_hour,
                open=True,
            )
            for span in spans
        ]

    def _check_member(self, principal: Principal, organization: str) -> None:
        known = organization in self._core.offer.organizations
        if not known or organization not in principal.organizations():
            raise NotFound("There is no such organization.")


def _parse_cursor(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise BadInput("The cursor is not one of ours.", hint="Start from the first page.", field="cursor")
    return int(cursor)


def _visible(principal: Principal, organization: str) -> list[sa.ColumnElement[bool]]:
    if principal.is_admin(organization):
        return []
    teams = [m.team for m in principal.memberships if m.organization == organization and m.role is Role.MANAGER]
    return [
        sa.or_(
            transactions.c.kind != "usage",
            transactions.c.person == principal.name,
            transactions.c.team.in_(teams),
        )
    ]


def _line(movement: Movement, admin: bool) -> LedgerLine:
    return LedgerLine(
        id=movement.id,
        at_ms=movement.at_ms,
        kind=movement.kind,
        amount_micros=movement.amount_micros,
        balance_micros=movement.balance_micros if admin else None,
        actor=movement.actor,
        reason=movement.reason,
        team=movement.team,
        user=movement.person,
        workspace_id=movement.workspace_id,
        workspace_title=movement.workspace_title,
        from_ms=movement.from_ms,
        to_ms=movement.to_ms,
        rate_micros_per_hour=movement.rate_micros_per_hour,
    )
