"""*Credits*, and what people do there: top up, refund, grant, take back a grant, set budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...model.errors import BadInput, NotAllowed, NotFound, PublicError
from ...model.identity import Role
from ...model.text import bounded
from ...model.wire_credits import (
    BudgetRequest,
    BudgetView,
    CreditsView,
    GrantRequest,
    GrantView,
    LimitsView,
    RefundRequest,
    TopUpRequest,
    VoidRequest,
)
from ..core import log
from ..series import Series
from .base import PageHandler
from .budgets_view import LIMIT_FIELDS, budget_values, budgets_view, offered_words, used_words
from .charts_view import charts_view
from .credits_query import CreditsQuery
from .credits_view import KINDS, credits_page, news_rows
from .forms import Form, read_form, refused
from .grants_view import GRANT_FIELDS, grant_body, grant_row, grants_view
from .words import amount, typed_amount

TOP_UP_FIELDS = ("amount", "reference", "note")
REFUND_FIELDS = ("amount", "reference", "note")
EXPORTS = (("csv", "CSV"), ("json", "JSON"), ("focus", "FOCUS"))
TYPED_CHARACTERS_MAX = 1000
"""What is typed into a field is shown again up to here; the models say what is too long for them."""


class OrganizationHandler(PageHandler):
    """Base of pages about one organization's credits."""

    _organization = ""

    def credits_shown(self) -> CreditsView | None:
        """The bar on top tells of the organization that the page is about."""
        every = self.me.credits if self.me else ()
        return next((c for c in every if c.organization == self._organization), None) or super().credits_shown()

    def choose(self, organization: str) -> CreditsView:
        """The organization that is meant, the first of the person when none is named; raises `NotFound`."""
        every = self.me.credits if self.me else ()
        if not every:
            raise NotFound("You belong to no organization yet.", hint="Ask an admin to add you to a team.")
        chosen = next((c for c in every if c.organization == (organization or every[0].organization)), None)
        if chosen is None:
            raise NotFound("There is no such organization.")
        self._organization = chosen.organization
        return chosen

    def check_admin(self, credits: CreditsView, what: str) -> None:
        """Raises `NotAllowed` for everybody but admins."""
        if not self.principal.is_admin(credits.organization):
            raise NotAllowed(f"Only an admin of the organization can {what}.", hint=f"Ask {credits.contact}.")

    def typed(self, fields: tuple[str, ...]) -> dict[str, str]:
        """What was typed into a form."""
        return {name: self.get_body_argument(name, "")[:TYPED_CHARACTERS_MAX] for name in fields}

    def manages_somewhere(self, organization: str) -> bool:
        """Whether the person manages a team."""
        roles = {m.role for m in self.principal.memberships if m.organization == organization}
        return Role.MANAGER in roles


class CreditsHandler(OrganizationHandler):
    """The organization's credits."""

    async def get(self) -> None:
        """Balance, forecast, charts, budgets, grants and ledger, as the address says."""
        query = CreditsQuery.read(self.query)
        await self.show(self.choose(query.organization), query)

    async def post(self) -> None:
        """Record a top-up; then the page again, with the reason at its field if it was refused."""
        credits = self.choose(self.sent("organization"))
        values = self.typed(TOP_UP_FIELDS)
        try:
            top_up = await self.parts.credits.top_up(self.principal, credits.organization, _top_up_request(values))
        except PublicError as error:
            await self.show(credits, status=error.status, top_up=refused(values, error))
            return
        log.info("top-up %s of %s by %s", top_up.id, bounded(credits.organization), bounded(self.principal.name))
        self.see_other(self.link("credits", organization=credits.organization, recorded=top_up.id))

    async def show(
        self,
        credits: CreditsView,
        query: CreditsQuery | None = None,
        *,
        status: int = 200,
        top_up: Form | None = None,
        grant: Form | None = None,
    ) -> None:
        """The page; ``live`` in the address asks only for what goes on changing."""
        organization, principal = credits.organization, self.principal
        query = query or CreditsQuery(organization=organization)
        ledger = await self.parts.movements.ledger(
            principal, organization, cursor=query.cursor or None, wanted=query.wanted()
        )
        every = self.me.credits if self.me else ()
        view = credits_page(credits, every, ledger, principal, query, recorded=self.query("recorded"))
        live = bool(self.query("live"))
        self.page(
            "credits.html",
            status,
            address=f"{self.parts.prefix}{query.link(organization=organization)}&live=1",
            section="credits",
            view=view,
            query=query,
            kinds=KINDS,
            live=live,
            form=top_up or Form(),
            grant_form=grant or Form(),
            saved=self.query("saved"),
            **({} if live else await self._rest(credits, query)),
        )

    async def _rest(self, credits: CreditsView, query: CreditsQuery) -> dict[str, Any]:
        """What does not change by itself while somebody looks."""
        organization, principal, core = credits.organization, self.principal, self.parts.core
        admin, manager = principal.is_admin(organization), self.manages_somewhere(organization)
        series = Series(core)
        found = await series.series(principal, organization, days=int(query.days), by=query.by)
        return {
            "charts": charts_view(found, query, admin=admin, manager=manager),
            "budgets": budgets_view(
                await self.parts.budgets.list(principal, organization),
                organization,
                principal.name,
                may_add=admin or manager,
            ),
            "grants": grants_view(
                credits.grants,
                await self.parts.credits.grants(principal, organization),
                core.offer.resource_specs,
                credits.currency,
                credits.at_ms,
                admin=admin,
            ),
            "news": news_rows(await series.news(principal, organization), credits.at_ms),
            "teams": {name: team.title for name, team in core.organization(organization).teams.items()},
            "whose": admin or manager,
            "exports": self._exports(query, organization),
        }

    def _exports(self, query: CreditsQuery, organization: str) -> tuple[tuple[str, str], ...]:
        """Titles and addresses; of a team that somebody does not manage it is the own share that can be had."""
        others = not query.team or self.principal.manages(organization, query.team)
        user = query.person if others else self.principal.name
        query = replace(query, organization=organization)
        return tuple((title, query.export(name, user)) for name, title in EXPORTS)


class GrantHandler(CreditsHandler):
    """The form for promotional credits."""

    SUPPORTED_METHODS = ("POST",)

    async def post(self) -> None:
        """Give a grant; then *Credits* again, with the reason at its field if it was refused."""
        credits = self.choose(self.sent("organization"))
        values = self.typed(GRANT_FIELDS)
        try:
            _required(values, "amount", "Write how much is given, such as 50 or 12.50.")
            _required(values, "reference", "Write a word or number for it; each is given once.")
            request = read_form(GrantRequest, grant_body(values))
            granted = await self.parts.credits.grant(self.principal, credits.organization, request)
        except PublicError as error:
            await self.show(credits, status=error.status, grant=refused(values, error))
            return
        number, organization = granted.grant.id, credits.organization
        log.info("grant %s of %s by %s", number, bounded(organization), bounded(self.principal.name))
        self.see_other(self.link("credits", organization=organization, saved="grant") + "#vessl-grants-heading")


class VoidHandler(OrganizationHandler):
    """The confirmation before what is left of a grant is taken back."""

    async def get(self, grant_id: str) -> None:
        """What is taken back."""
        await self._show(self.choose(self.query("organization")), grant_id)

    async def post(self, grant_id: str) -> None:
        """Do it."""
        credits = self.choose(self.sent("organization"))
        values = self.typed(("reason",))
        try:
            request = read_form(VoidRequest, values)
            await self.parts.credits.void(self.principal, credits.organization, grant_id, request)
        except NotFound:
            raise
        except PublicError as error:
            await self._show(credits, grant_id, refused(values, error), error.status)
            return
        log.info("grant %s voided by %s", grant_id, bounded(self.principal.name))
        self.see_other(self.link("credits", organization=credits.organization, saved="void") + "#vessl-grants-heading")

    async def _show(self, credits: CreditsView, grant_id: str, form: Form | None = None, status: int = 200) -> None:
        self.check_admin(credits, "void a grant")
        every: tuple[GrantView, ...] = await self.parts.credits.grants(self.principal, credits.organization)
        grant = next((g for g in every if g.id == grant_id), None)
        if grant is None:
            raise NotFound("There is no such grant.")
        specs = self.parts.core.offer.resource_specs
        self.page(
            "void.html",
            status,
            section="credits",
            organization=credits.organization,
            grant=grant_row(grant, specs, credits.currency, credits.at_ms, admin=True),
            form=form or Form(),
        )


class RefundHandler(OrganizationHandler):
    """The form that gives back a top-up, or a part of it."""

    async def get(self) -> None:
        """What can be given back."""
        await self._show(self.choose(self.query("organization")), self.query("top_up"))

    async def post(self) -> None:
        """Record the refund; then *Credits*, or the form with the reason at its field."""
        credits, reference = self.choose(self.sent("organization")), self.sent("top_up")
        values = self.typed(REFUND_FIELDS)
        try:
            _required(values, "amount", "Write the amount that is given back.")
            _required(values, "reference", "Write the number of the credit note or payment.")
            request = read_form(RefundRequest, _stripped(values) | {"top_up": reference})
            refund = await self.parts.credits.refund(self.principal, credits.organization, request)
        except NotFound:
            raise
        except PublicError as error:
            await self._show(credits, reference, refused(values, error), error.status)
            return
        log.info("refund %s of %s by %s", refund.id, bounded(credits.organization), bounded(self.principal.name))
        self.see_other(self.link("credits", organization=credits.organization, recorded=refund.id))

    async def _show(self, credits: CreditsView, reference: str, form: Form | None = None, status: int = 200) -> None:
        self.check_admin(credits, "refund")
        paid, left = await self.parts.movements.top_up(self.principal, credits.organization, reference)
        unused = max(0, credits.wallet_micros)
        most = min(left, unused)
        self.page(
            "refund.html",
            status,
            section="credits",
            organization=credits.organization,
            title=credits.title,
            reference=reference,
            paid=amount(paid, credits.currency),
            left=amount(left, credits.currency),
            most=amount(most, credits.currency),
            form=form or Form({"amount": typed_amount(most - most % 10_000) if most else ""}),
        )


class BudgetHandler(OrganizationHandler):
    """The form for the limits of the organization, a team, a person, or a person in a team."""

    async def get(self) -> None:
        """What is set now; with neither team nor person also a choice of them."""
        credits = self.choose(self.query("organization"))
        choose = not (self.query("team") or self.query("user") or self.query("whole"))
        await self._show(credits, self.query("team"), self.query("user"), choose)

    async def post(self) -> None:
        """Set the limits; then *Credits*, or the form as it was with the reason at its field."""
        credits = self.choose(self.sent("organization"))
        team, user, choose = self.sent("team"), self.sent("user").strip(), bool(self.sent("choose"))
        values = self.typed(LIMIT_FIELDS)
        try:
            if choose and not (team or user):
                raise BadInput("Choose a team, write a person's name, or both.", field="user")
            if choose and not user and not self.principal.is_admin(credits.organization):
                raise BadInput("Write whose limits they are; those of a whole team are for an admin.", field="user")
            request = read_form(
                BudgetRequest, {name: value.strip() for name, value in values.items()} | _of(team, user)
            )
            await self.parts.budgets.set(self.principal, credits.organization, request)
        except NotAllowed:
            raise
        except PublicError as error:
            form = refused(values | _of(team, user), error)
            await self._show(credits, team, user, choose, form, error.status)
            return
        log.info("limits of %s set by %s", bounded(f"{team}/{user}"), bounded(self.principal.name))
        self.see_other(
            self.link("credits", organization=credits.organization, saved="budget") + "#vessl-budgets-heading"
        )

    async def _show(
        self,
        credits: CreditsView,
        team: str,
        user: str,
        choose: bool,
        form: Form | None = None,
        status: int = 200,
    ) -> None:
        organization, principal = credits.organization, self.principal
        found = await self.parts.budgets.list(principal, organization)
        budget: BudgetView | None = next((b for b in found.budgets if (b.team, b.user) == (team, user)), None)
        admin = principal.is_admin(organization)
        if not (admin or (self.manages_somewhere(organization) and (choose or budget is None or budget.may_set))):
            raise NotAllowed("Only an admin can set that; a manager sets the limits of the own team's members.")
        if choose:
            budget = None
        every = self.parts.core.organization(organization).teams
        teams = {name: body.title for name, body in every.items() if principal.manages(organization, name)}
        offered = budget.offered if budget else LimitsView()
        self.page(
            "budget.html",
            status,
            section="credits",
            organization=organization,
            heading=f"Limits of {budget.title}" if budget else "Set limits",
            title=credits.title,
            team=team,
            user=user,
            choose=choose or budget is None,
            teams=teams,
            admin=admin,
            offered=offered_words(offered, credits.currency),
            used=used_words(budget, credits.currency),
            form=form or Form(budget_values(budget) | _of(team, user)),
        )


def _stripped(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value.strip() for name, value in values.items()}


def _of(team: str, user: str) -> dict[str, str]:
    return {"team": team, "user": user}


def _required(values: Mapping[str, str], name: str, sentence: str) -> None:
    if not values[name].strip():
        raise BadInput(sentence, field=name)


def _top_up_request(values: dict[str, str]) -> TopUpRequest:
    """The form's values, checked; raises `BadInput` naming the field."""
    _required(values, "amount", "Write the amount that was paid, such as 50 or 12.50.")
    _required(values, "reference", "Write the number of the invoice or payment.")
    return read_form(TopUpRequest, _stripped(values))
