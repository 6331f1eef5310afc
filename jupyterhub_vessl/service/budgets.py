"""Budgets and caps: which hold for whom, what is used of them, and setting them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from ..ledger.events import Event, record_event
from ..ledger.holds import Held, Hold, list_holds
from ..ledger.limits import list_set_limits, save_limits, scopes_with_limits, use_of
from ..ledger.meters import list_meters, member_scope, person_scope, team_scope
from ..model.catalog import Organization
from ..model.errors import BadInput, NotAllowed, NotFound
from ..model.identity import Principal
from ..model.limits import LimitedScope, Limits, Use
from ..model.money import format_credits
from ..model.units import format_bytes
from ..model.wire_credits import BudgetList, BudgetRequest, BudgetView, LimitsView, UseView
from .core import Core


@dataclass(frozen=True)
class Whose:
    """A scope as people know it: a team, a person, a person in a team, or (all empty) the organization."""

    scope: str
    title: str
    team: str = ""
    person: str = ""


def scopes_for(organization: str, body: Organization, team: str, person: str) -> tuple[Whose, ...]:
    """The scopes that can have limits and that something of a person in a team counts in, smallest first."""
    found = []
    team_title = body.teams[team].title if team in body.teams else team
    if person and team:
        title = f"{person} in {team_title}"
        found.append(Whose(member_scope(organization, team, person), title, team, person))
    if person:
        found.append(Whose(person_scope(organization, person), person, "", person))
    if team:
        found.append(Whose(team_scope(organization, team), f"team {team_title}", team))
    found.append(Whose(organization, body.title))
    return tuple(found)


def offered_limits(body: Organization, whose: Whose) -> Limits:
    """What the offer says about a scope."""
    team = body.teams.get(whose.team)
    if whose.person:
        member = team.limits.member if team else body.limits.member
        return member if whose.team else body.limits.member
    if whose.team:
        return team.limits if team else Limits()
    return body.limits


def held_in(whose: Whose, holds: Iterable[Hold], now_ms: int) -> int:
    """What open starts have reserved in a scope, in micro-credits."""
    return sum(
        hold.left_micros(now_ms)
        for hold in holds
        if whose.team in ("", hold.team) and whose.person in ("", hold.person)
    )


def limited_scopes(
    core: Core,
    connection: sa.Connection,
    organization: str,
    team: str,
    person: str,
    held: Held,
    now_ms: int,
) -> tuple[LimitedScope, ...]:
    """Every set of limits that holds for a person in a team, with its use; one scope may have two sets."""
    body = core.organization(organization)
    every = scopes_for(organization, body, team, person)
    chosen = scopes_with_limits(connection, organization, [whose.scope for whose in every])
    found = []
    for whose in every:
        sets = [limits for limits in (offered_limits(body, whose), chosen.get(whose.scope)) if limits]
        sets = [limits for limits in sets if not limits.empty]
        if sets:
            day = any(limits.day_micros is not None for limits in sets)
            month = any(limits.month_micros is not None for limits in sets)
            reserved = held.within(team=bool(whose.team), person=bool(whose.person))
            use = use_of(connection, whose.scope, reserved, now_ms, day=day, month=month)
            found += [LimitedScope(whose.scope, whose.title, limits, use) for limits in sets]
    return tuple(found)


class Budgets:
    """Shows and sets limits."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def list(self, principal: Principal, organization: str) -> BudgetList:
        """Every budget and cap that the person may see, with what is used of it.

        An admin sees the organization, its teams and everybody who has limits or uses something; a manager the
        own teams and their members; everybody else what holds for themselves.
        """
        self._core.check_member(principal, organization)
        return await self._core.database.run(lambda c: self._list(c, principal, organization))

    def _list(self, connection: sa.Connection, principal: Principal, organization: str) -> BudgetList:
        body, now_ms = self._core.organization(organization), self._core.clock.now_ms()
        chosen = list_set_limits(connection, organization)
        holds = list_holds(connection, organization, now_ms)
        shown = []
        for whose in self._known(connection, organization, body, chosen):
            mine = whose.person == principal.name
            own_team = bool(whose.team) and principal.role_in(organization, whose.team) is not None
            team_or_all = not whose.person and (own_team or not whose.team)
            if not (mine or team_or_all or _may_see(principal, organization, whose)):
                continue
            offered, own = offered_limits(body, whose), chosen.get(whose.scope, Limits())
            if offered.empty and own.empty and not _may_see(principal, organization, whose):
                continue  # where nothing is limited, what others spend is nobody's business
            use = use_of(connection, whose.scope, held_in(whose, holds, now_ms), now_ms)
            shown.append(_view(whose, offered, own, use, _may_set(principal, organization, whose)))
        return BudgetList(budgets=tuple(shown), currency=body.currency, at_ms=now_ms)

    def _known(
        self, connection: sa.Connection, organization: str, body: Organization, chosen: dict[str, Limits]
    ) -> Iterable[Whose]:
        yield Whose(organization, body.title)
        for team in body.teams:
            yield scopes_for(organization, body, team, "")[0]
        names = {meter.scope for meter in list_meters(connection, f"{organization}/member/")}
        names |= {scope for scope in chosen if scope.startswith(f"{organization}/member/")}
        for scope in sorted(names):
            team, person = scope.removeprefix(f"{organization}/member/").split("/", 1)
            yield scopes_for(organization, body, team, person)[0]
        names = {meter.scope for meter in list_meters(connection, f"{organization}/person/")}
        names |= {scope for scope in chosen if scope.startswith(f"{organization}/person/")}
        for scope in sorted(names):
            yield scopes_for(organization, body, "", scope.removeprefix(f"{organization}/person/"))[0]

    async def set(self, principal: Principal, organization: str, request: BudgetRequest) -> BudgetList:
        """Set the limits of a team, a person, or a person in a team; what is left out is not limited.

        Admins set all of them, managers those of members of their team.  Raises `NotAllowed`, `NotFound` for an
        unknown team, and `BadInput` for a budget below what is spent already.
        """
        self._core.check_member(principal, organization)
        body = self._core.organization(organization)
        if request.team and request.team not in body.teams:
            raise NotFound(f"There is no team {request.team!r}.", field="team")
        whose = scopes_for(organization, body, request.team, request.user)[0]
        if not _may_set(principal, organization, whose):
            raise NotAllowed("Only an admin can set that; a manager sets the limits of the own team's members.")
        limits = request.limits()
        await self._core.database.run(lambda c: self._set(c, principal, organization, whose, limits))
        self._core.changed(organization, request.team, request.user)
        return await self.list(principal, organization)

    def _set(
        self, connection: sa.Connection, principal: Principal, organization: str, whose: Whose, limits: Limits
    ) -> None:
        now_ms, currency = self._core.clock.now_ms(), self._core.organization(organization).currency
        use = use_of(connection, whose.scope, 0, now_ms)
        for limit, spent, field, period in (
            (limits.day_micros, use.day_micros, "day", "today"),
            (limits.month_micros, use.month_micros, "month", "this month"),
        ):
            if limit is not None and limit < spent:
                shown = format_credits(spent, currency)
                raise BadInput(
                    f"{whose.title[:1].upper()}{whose.title[1:]} has used {shown} {period} already, so the budget "
                    "cannot be lower than that.",
                    hint="Pause its workspaces to stop spending.",
                    field=field,
                )
        save_limits(connection, whose.scope, organization, limits, principal.name, now_ms)
        message = f"{principal.name} set the limits of {whose.title}: {describe(limits, currency)}."
        record_event(
            connection,
            Event(now_ms, "budget-set", message, principal.name, organization, whose.team, whose.person),
        )


def _may_set(principal: Principal, organization: str, whose: Whose) -> bool:
    if principal.is_admin(organization):
        return True
    return bool(whose.team and whose.person) and principal.manages(organization, whose.team)


def _may_see(principal: Principal, organization: str, whose: Whose) -> bool:
    if principal.is_admin(organization):
        return True
    return bool(whose.team) and principal.manages(organization, whose.team)


def describe(limits: Limits, currency: str) -> str:
    """Limits as one line of text."""
    parts = []
    if limits.day_micros is not None:
        parts.append(f"{format_credits(limits.day_micros, currency)} a day")
    if limits.month_micros is not None:
        parts.append(f"{format_credits(limits.month_micros, currency)} a month")
    if limits.workspaces is not None:
        parts.append(f"{limits.workspaces} workspaces at once")
    if limits.gpus is not None:
        parts.append(f"{limits.gpus} GPUs at once")
    if limits.storage_bytes is not None:
        parts.append(f"{format_bytes(limits.storage_bytes)} of storage")
    return ", ".join(parts) or "none"


def _limits_view(limits: Limits) -> LimitsView:
    return LimitsView(**{name: getattr(limits, name) for name in LimitsView.model_fields})


def _view(whose: Whose, offered: Limits, own: Limits, use: Use, may_set: bool) -> BudgetView:
    return BudgetView(
        team=whose.team,
        user=whose.person,
        title=whose.title,
        offered=_limits_view(offered),
        set=_limits_view(own),
        use=UseView(**vars(use)),
        may_set=may_set,
    )
