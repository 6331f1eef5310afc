"""The handlers of everything about money: parse, call one part, answer."""

from __future__ import annotations

from ...model.errors import BadInput
from ...model.text import bounded
from ...model.wire_credits import (
    BudgetRequest,
    GrantList,
    GrantRequest,
    RefundRequest,
    TopUpRequest,
    VoidRequest,
    parse_instant,
)
from ..core import log
from ..movements import Wanted
from .base import ApiHandler


class BalanceHandler(ApiHandler):
    """An organization's credits."""

    async def get(self, organization: str) -> None:
        """Balance, burn rate, and when it runs out."""
        self.answer(await self.parts.credits.balance(self.principal, organization))


class BalanceAtHandler(ApiHandler):
    """An organization's credits in the past."""

    async def get(self, organization: str) -> None:
        """The balance at the instant ``at``, such as 2026-11-01 or 2026-11-01T12:00:00Z."""
        at_ms = parse_instant(self.query("at"), "at")
        if at_ms is None:
            raise BadInput("Say at which instant, such as at=2026-11-01T12:00:00Z.", field="at")
        self.answer(await self.parts.credits.balance_at(self.principal, organization, at_ms))


class LedgerHandler(ApiHandler):
    """An organization's movements."""

    async def get(self, organization: str) -> None:
        """A page of them, newest first; ``cursor`` is the ``next`` of the page before.

        ``from`` is the first instant that is wanted, ``to`` the first that is not.
        """
        wanted = Wanted(
            kind=self.query("kind", "") or "",
            team=self.query("team", "") or "",
            user=self.query("user", "") or "",
            from_ms=parse_instant(self.query("from"), "from"),
            to_ms=parse_instant(self.query("to"), "to"),
        )
        page = await self.parts.movements.ledger(
            self.principal,
            organization,
            cursor=self.query("cursor"),
            limit=self.query_number("limit", 50),
            wanted=wanted,
        )
        self.answer(page)


class TopUpsHandler(ApiHandler):
    """Credits that were paid for."""

    async def post(self, organization: str) -> None:
        """Record a top-up, once for each reference."""
        request = self.body(TopUpRequest)
        top_up = await self.parts.credits.top_up(self.principal, organization, request)
        log.info("top-up %s of %s by %s", top_up.id, bounded(organization), bounded(self.principal.name))
        self.answer(top_up, 201)


class RefundsHandler(ApiHandler):
    """Credits that are paid back."""

    async def post(self, organization: str) -> None:
        """Record a refund, once for each reference."""
        refund = await self.parts.credits.refund(self.principal, organization, self.body(RefundRequest))
        log.info("refund %s of %s by %s", refund.id, bounded(organization), bounded(self.principal.name))
        self.answer(refund, 201)


class GrantsHandler(ApiHandler):
    """Promotional credits."""

    async def get(self, organization: str) -> None:
        """Every grant, the newest first."""
        found = await self.parts.credits.grants(self.principal, organization)
        core = self.parts.core
        currency = core.organization(organization).currency
        self.answer(GrantList(grants=found, currency=currency, at_ms=core.clock.now_ms()))

    async def post(self, organization: str) -> None:
        """Give a grant, once for each reference."""
        granted = await self.parts.credits.grant(self.principal, organization, self.body(GrantRequest))
        log.info("grant %s of %s by %s", granted.grant.id, bounded(organization), bounded(self.principal.name))
        self.answer(granted, 201)


class VoidHandler(ApiHandler):
    """Promotional credits that are taken back."""

    async def post(self, organization: str, grant: str) -> None:
        """Take back what is left of a grant."""
        voided = await self.parts.credits.void(self.principal, organization, grant, self.body(VoidRequest))
        log.info("grant %s of %s voided by %s", grant, bounded(organization), bounded(self.principal.name))
        self.answer(voided)


class BudgetsHandler(ApiHandler):
    """Budgets and caps."""

    async def get(self, organization: str) -> None:
        """Those that the person may see, with what is used of them."""
        self.answer(await self.parts.budgets.list(self.principal, organization))

    async def put(self, organization: str) -> None:
        """Set the limits of a team, a person, or a person in a team."""
        self.answer(await self.parts.budgets.set(self.principal, organization, self.body(BudgetRequest)))
