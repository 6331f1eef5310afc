"""Credits as people use them: the balance, top-ups, refunds and grants."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ..ledger.cycles import read_cycle
from ..ledger.events import Event, record_event
from ..ledger.funding import (
    LIVE,
    SCHEDULED,
    VOIDED,
    Grant,
    advance,
    credit_state,
    drop_scheduled,
    end_grant,
    insert_grant,
    list_grants,
    next_grant_number,
)
from ..ledger.history import balance_as_of
from ..ledger.postings import CREDITS, PAYMENTS, Transaction, post, remember, remembered
from ..ledger.refunds import refunded_micros, top_up_by_reference
from ..model.catalog import Organization
from ..model.errors import BadInput, Conflict, NotAllowed, NotFound
from ..model.forecast import forecast
from ..model.identity import Principal
from ..model.money import DAY_MS, format_credits, parse_credit_micros
from ..model.standing import standing
from ..model.wire_credits import (
    BalanceAt,
    CreditsView,
    Granted,
    GrantRequest,
    GrantView,
    RefundRequest,
    TopUp,
    TopUpRequest,
    VoidRequest,
)
from .core import Core

GRANTS_LIVE_MAX = 100
EXACT_VIEW_SPANS_MAX = 10_000
"""Beyond so many open spans a balance that is shown is rounded once for all of them, not once for each."""


class Credits:
    """Reads and changes the organizations' credits."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def balance(self, principal: Principal, organization: str) -> CreditsView:
        """The balance now; for everybody who belongs to the organization."""
        self._core.check_member(principal, organization)
        return await self._core.database.run(lambda c: self.view(c, organization))

    async def balance_at(self, principal: Principal, organization: str, at_ms: int) -> BalanceAt:
        """The balance at a past instant; raises `BadInput` for one to come."""
        self._core.check_member(principal, organization)
        if at_ms > self._core.clock.now_ms():
            raise BadInput("That instant is yet to come.", field="at")

        def work(connection: sa.Connection) -> int:
            # what began or expired meanwhile, and nobody has looked since, is part of the past too
            advance(connection, organization, self._core.clock.now_ms())
            return balance_as_of(connection, organization, at_ms)

        micros = await self._core.database.run(work)
        currency = self._core.organization(organization).currency
        return BalanceAt(organization=organization, currency=currency, balance_micros=micros, at_ms=at_ms)

    def view(self, connection: sa.Connection, organization: str) -> CreditsView:
        """An organization's credits at this instant, inside a transaction."""
        body, now_ms = self._core.organization(organization), self._core.clock.now_ms()
        state = credit_state(connection, organization, body.currency, now_ms, exact_up_to=EXACT_VIEW_SPANS_MAX)
        ahead = forecast(state, body.credits.floor_micros, now_ms)
        cycle = read_cycle(connection, organization)
        terminate_ms = None
        if cycle and cycle.exhausted_ms is not None and body.credits.grace_seconds is not None:
            terminate_ms = cycle.exhausted_ms + body.credits.grace_seconds * 1000
        known = list_grants(connection, organization, SCHEDULED, LIVE) if state.funds or state.scheduled else ()
        balance, rate = state.balance_micros(now_ms), state.rate_micros_per_hour
        end_ms = ahead.empty_ms if ahead.pause_ms is None else ahead.pause_ms
        tone, warning = standing(balance, rate, end_ms, body.credits, now_ms)
        return CreditsView(
            organization=organization,
            title=body.title,
            currency=body.currency,
            contact=self._core.contact(organization),
            balance_micros=balance,
            tone=tone,
            warning=warning,
            wallet_micros=state.wallet.micros(now_ms),
            rate_micros_per_hour=rate,
            buffer_micros=body.credits.floor_micros,
            minimum_top_up_micros=body.credits.minimum_top_up_micros,
            empty_ms=ahead.empty_ms,
            pause_ms=ahead.pause_ms,
            terminate_ms=terminate_ms,
            policy=body.credits.policy,
            dry_run=body.credits.dry_run,
            grants=tuple(grant_view(grant) for grant in known),
            at_ms=now_ms,
        )

    # -- commands --------------------------------------------------------------

    def _admin_of(self, principal: Principal, organization: str, what: str) -> Organization:
        self._core.check_member(principal, organization)
        if not principal.is_admin(organization):
            raise NotAllowed(f"Only an admin of the organization can {what}.")
        return self._core.organization(organization)

    async def top_up(self, principal: Principal, organization: str, request: TopUpRequest) -> TopUp:
        """Add credits that were paid for.  The same reference with the same body is recorded once.

        Raises `NotFound` for another organization, `NotAllowed` for anybody but its admins, `BadInput` for an
        amount that is not positive or below the minimum, `Conflict` for a reference used otherwise.
        """
        body = self._admin_of(principal, organization, "top up")
        amount = _positive(request.amount, request.currency, body, "A top-up")
        if amount < body.credits.minimum_top_up_micros:
            least = format_credits(body.credits.minimum_top_up_micros, body.currency)
            raise BadInput(f"A top-up is at least {least}.", field="amount")
        result = await self._core.database.run(lambda c: self._top_up(c, principal, organization, amount, request))
        self._core.changed(organization)
        return result

    def _top_up(
        self, connection: sa.Connection, principal: Principal, organization: str, amount: int, request: TopUpRequest
    ) -> TopUp:
        key = f"top-up:{organization}:{request.reference}"
        command = {"amount_micros": amount, "note": request.note}
        answer = remembered(connection, key, command)
        if answer is None:
            now_ms = self._core.clock.now_ms()
            reason = request.note or f"Payment {request.reference}"
            paid = _transaction(organization, "top-up", now_ms, principal, reason, request.reference)
            transaction_id = post(connection, paid, {CREDITS: amount, PAYMENTS: -amount})
            answer = {"id": transaction_id, "amount_micros": amount, "at_ms": now_ms}
            remember(connection, key, command, answer, now_ms)
            self._tell(connection, principal, organization, "top-up", "topped up", amount, now_ms)
        return TopUp(**answer, credits=self.view(connection, organization))

    async def refund(self, principal: Principal, organization: str, request: RefundRequest) -> TopUp:
        """Give back a top-up or a part of it.  The same reference with the same body is recorded once.

        Raises `NotFound` for an unknown top-up, `BadInput` for more than it was, or more than is left unused.
        """
        body = self._admin_of(principal, organization, "refund")
        amount = _positive(request.amount, request.currency, body, "A refund")
        result = await self._core.database.run(
            lambda c: self._refund(c, principal, body, organization, amount, request)
        )
        self._core.changed(organization)
        return result

    def _refund(
        self,
        connection: sa.Connection,
        principal: Principal,
        body: Organization,
        organization: str,
        amount: int,
        request: RefundRequest,
    ) -> TopUp:
        key = f"refund:{organization}:{request.reference}"
        command = {"amount_micros": amount, "top_up": request.top_up, "note": request.note}
        answer = remembered(connection, key, command)
        if answer is None:
            now_ms = self._core.clock.now_ms()
            paid = top_up_by_reference(connection, organization, request.top_up)
            if paid is None:
                raise NotFound(f"There is no top-up with the reference {request.top_up!r}.", field="top_up")
            left = paid.amount_micros - refunded_micros(connection, organization, paid.id)
            state = credit_state(connection, organization, body.currency, now_ms, exact=True)
            unused = max(0, state.wallet.micros(now_ms))
            if amount > min(left, unused):
                why = "is left of that top-up" if left <= unused else "of paid credits is unused"
                most = format_credits(min(left, unused), body.currency)
                raise BadInput(f"Only {most} {why}, so that much can be refunded at most.", field="amount")
            reason = request.note or f"Refund of {request.top_up}"
            back = _transaction(organization, "refund", now_ms, principal, reason, request.reference, corrects=paid.id)
            transaction_id = post(connection, back, {CREDITS: -amount, PAYMENTS: amount})
            answer = {"id": transaction_id, "amount_micros": -amount, "at_ms": now_ms}
            remember(connection, key, command, answer, now_ms)
            self._tell(connection, principal, organization, "refund", "refunded", amount, now_ms)
        return TopUp(**answer, credits=self.view(connection, organization))

    async def grant(self, principal: Principal, organization: str, request: GrantRequest) -> Granted:
        """Give promotional credits.  The same reference with the same body is recorded once."""
        body = self._admin_of(principal, organization, "grant credits")
        amount = _positive(request.amount, request.currency, body, "A grant")
        unknown = [spec for spec in request.applies.specs if spec not in self._core.offer.resource_specs]
        if unknown:
            raise BadInput(f"There is no resource spec {unknown[0]!r}.", field="applies")
        with_gpu = [self._core.offer.resource_specs[spec].gpu is not None for spec in request.applies.specs]
        if request.applies.gpu is not None and with_gpu and request.applies.gpu not in with_gpu:
            raise BadInput(
                "None of these resource specs is of that kind, so the grant would pay nothing.", field="applies"
            )
        result = await self._core.database.run(lambda c: self._grant(c, principal, organization, amount, request))
        self._core.changed(organization)
        return result

    def _grant(
        self, connection: sa.Connection, principal: Principal, organization: str, amount: int, request: GrantRequest
    ) -> Granted:
        key = f"grant:{organization}:{request.reference}"
        command = request.model_dump(mode="json", exclude={"amount"}) | {"amount_micros": amount}
        answer = remembered(connection, key, command)
        if answer is None:
            now_ms = self._core.clock.now_ms()
            grant = self._new_grant(connection, principal, organization, amount, request, now_ms)
            insert_grant(connection, grant, now_ms)
            answer = {"id": grant.id}
            remember(connection, key, command, answer, now_ms)
            self._tell(connection, principal, organization, "grant", "granted", amount, now_ms)
        return self._granted(connection, organization, answer)

    def _new_grant(
        self,
        connection: sa.Connection,
        principal: Principal,
        organization: str,
        amount: int,
        request: GrantRequest,
        now_ms: int,
    ) -> Grant:
        if request.effective is not None and request.effective < now_ms - DAY_MS:
            raise BadInput("A grant cannot begin in the past.", field="effective")
        effective_ms = max(now_ms, request.effective or now_ms)
        if request.expires is not None and request.expires <= effective_ms:
            raise BadInput("A grant expires after it begins, and not in the past.", field="expires")
        if len(list_grants(connection, organization, SCHEDULED, LIVE)) >= GRANTS_LIVE_MAX:
            raise Conflict(
                f"There are {GRANTS_LIVE_MAX} grants that are not used up yet.", hint="Void one that is not needed."
            )
        number = next_grant_number(connection)
        return Grant(
            id=uuid.uuid4().hex,
            number=number,
            organization=organization,
            title=request.title or f"Grant {number}",
            actor=principal.name,
            created_ms=now_ms,
            amount_micros=amount,
            priority=request.priority,
            effective_ms=effective_ms,
            expires_ms=request.expires,
            applies=request.applies,
            state=SCHEDULED,
            ended_ms=None,
            drawn_units=0,
            booked_micros=0,
        )

    async def void(self, principal: Principal, organization: str, grant_id: str, request: VoidRequest) -> Granted:
        """Take back what is left of a grant.  Voiding it again changes nothing; one that has ended is a conflict."""
        self._admin_of(principal, organization, "void a grant")
        result = await self._core.database.run(lambda c: self._void(c, principal, organization, grant_id, request))
        self._core.changed(organization)
        return result

    def _void(
        self, connection: sa.Connection, principal: Principal, organization: str, grant_id: str, request: VoidRequest
    ) -> Granted:
        now_ms = self._core.clock.now_ms()
        advance(connection, organization, now_ms)
        grant = next((g for g in list_grants(connection, organization) if g.id == grant_id), None)
        if grant is None:
            raise NotFound("There is no such grant.")
        if grant.state in (LIVE, SCHEDULED):
            left = grant.amount_micros
            if grant.state == LIVE:
                reason = request.reason or "taken back"
                left = end_grant(connection, grant, VOIDED, now_ms, now_ms, principal.name, reason)
            else:
                drop_scheduled(connection, grant, now_ms)
            self._tell(connection, principal, organization, "void", "took back a grant:", left, now_ms)
        elif grant.state != VOIDED:
            raise Conflict(f"This grant is {grant.state} already; nothing of it is left.")
        return self._granted(connection, organization, {"id": grant_id})

    async def grants(self, principal: Principal, organization: str) -> tuple[GrantView, ...]:
        """Every grant of the organization, the newest first."""
        self._core.check_member(principal, organization)

        def work(connection: sa.Connection) -> tuple[GrantView, ...]:
            advance(connection, organization, self._core.clock.now_ms())
            return tuple(grant_view(grant) for grant in reversed(list_grants(connection, organization)))

        return await self._core.database.run(work)

    def _granted(self, connection: sa.Connection, organization: str, answer: Mapping[str, Any]) -> Granted:
        grant = next(g for g in list_grants(connection, organization) if g.id == answer["id"])
        return Granted(grant=grant_view(grant), credits=self.view(connection, organization))

    def _tell(
        self,
        connection: sa.Connection,
        principal: Principal,
        organization: str,
        kind: str,
        verb: str,
        micros: int,
        now_ms: int,
    ) -> None:
        shown = format_credits(micros, self._core.organization(organization).currency)
        record_event(connection, Event(now_ms, kind, f"{principal.name} {verb} {shown}.", principal.name, organization))


def _transaction(
    organization: str, kind: str, now_ms: int, principal: Principal, reason: str, source: str, corrects: str = ""
) -> Transaction:
    return Transaction(
        organization=organization,
        kind=kind,
        at_ms=now_ms,
        recorded_ms=now_ms,
        actor=principal.name,
        reason=reason,
        source=source,
        corrects=corrects,
    )


def _positive(text: str, currency: str | None, body: Organization, what: str) -> int:
    """An amount in the organization's currency, more than 0; raises `BadInput`."""
    amount = parse_credit_micros(text)
    if amount <= 0:
        raise BadInput(f"{what} is more than 0.", field="amount")
    if currency is not None and currency != body.currency:
        raise BadInput(
            f"The credits of {body.title} are in {body.currency}, not in {currency}; nothing was recorded.",
            hint=f"Convert the amount to {body.currency}.",
            field="currency",
        )
    return amount


def grant_view(grant: Grant) -> GrantView:
    """A grant as people see it."""
    left = 0 if grant.state == "used" else grant.fund.left_micros
    return GrantView(
        id=grant.id,
        number=grant.number,
        title=grant.title,
        amount_micros=grant.amount_micros,
        left_micros=left,
        priority=grant.priority,
        effective_ms=grant.effective_ms,
        expires_ms=grant.expires_ms,
        ended_ms=grant.ended_ms,
        applies=grant.applies,
        state=grant.state,
        actor=grant.actor,
        created_ms=grant.created_ms,
    )
