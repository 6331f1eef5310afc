"""Credits over time, as each person may see them: the balance, what was used day by day, and what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ..ledger.events import Event, list_events
from ..ledger.funding import credit_state
from ..ledger.history import balance_as_of
from ..ledger.meters import Meter, close_days, list_meters, read_meter, team_scope
from ..ledger.schema import events, spans
from ..ledger.series import daily_units, daily_units_of_items, first_movement_ms, midnight_balances
from ..model.credit import CreditState
from ..model.errors import BadInput
from ..model.forecast import forecast
from ..model.identity import Principal, Role
from ..model.money import DAY_MS, HOUR_MS, divide_half_even
from ..model.usage import COMPUTE, UsageClass, day_start_ms
from ..model.wire_series import BalancePoint, BurnGroup, SeriesView
from .core import Core

DAYS = (7, 30, 90)
DIVISIONS = ("team", "spec", "person")
GROUPS_MAX = 9
"""More teams, specs or people than that are put together as one more."""

NEWS_MAX = 6
Days = tuple[int, ...]
"""What was used on each day, in units."""
Used = Callable[[Iterable[Meter]], dict[str, Days]]
"""Reads what was used in the scopes of some meters."""


@dataclass
class Burn:
    """What was used, by the name of a team, spec or person; ``titles`` of names that are not titles themselves."""

    groups: dict[str, Days]
    titles: dict[str, str]

    def add(self, name: str, days: Days) -> None:
        """Add days to a group."""
        self.groups[name] = _sum((self.groups[name], days)) if name in self.groups else days


class Series:
    """Builds the series of an organization."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def series(self, principal: Principal, organization: str, *, days: int = 30, by: str = "team") -> SeriesView:
        """The balance of the last ``days`` (7, 30 or 90) and to come, and what was used ``by`` team, spec or person.

        An admin sees what everybody used, a manager the own teams, everybody else the own share.  Raises
        `BadInput` for another range or division.
        """
        self._core.check_member(principal, organization)
        if days not in DAYS:
            raise BadInput(f"A range is {', '.join(map(str, DAYS[:-1]))} or {DAYS[-1]} days.", field="days")
        if by not in DIVISIONS:
            raise BadInput("What was used is divided by team, spec or person.", field="by")
        return await self._core.database.run(lambda c: self._series(c, principal, organization, days, by))

    def _series(
        self, connection: sa.Connection, principal: Principal, organization: str, days: int, by: str
    ) -> SeriesView:
        body, now_ms = self._core.organization(organization), self._core.clock.now_ms()
        close_days(connection, now_ms)
        today_ms = day_start_ms(now_ms)
        days_ms = tuple(range(today_ms - (days - 1) * DAY_MS, today_ms + 1, DAY_MS))
        state = credit_state(connection, organization, body.currency, now_ms)
        floor = body.credits.floor_micros
        to_come = forecast(state, floor, now_ms)
        ahead = list(to_come.points)
        if to_come.empty_ms is not None and to_come.empty_ms > ahead[-1][0]:
            ahead.append((to_come.empty_ms, 0))
        burn = self._burn(connection, principal, organization, by, days_ms, now_ms)
        return SeriesView(
            organization=organization,
            currency=body.currency,
            past=_points(self._past(connection, organization, state, days_ms, now_ms)),
            ahead=_points(_cut(ahead, state.rate_micros_per_hour, now_ms + days * DAY_MS)),
            buffer_micros=floor,
            by=by,
            days_ms=days_ms,
            burn=_largest(burn),
            at_ms=now_ms,
        )

    def _past(
        self,
        connection: sa.Connection,
        organization: str,
        state: CreditState,
        days_ms: Sequence[int],
        now_ms: int,
    ) -> list[tuple[int, int]]:
        first_ms = first_movement_ms(connection, organization)
        now = (now_ms, state.balance_micros(now_ms))
        if first_ms is None or first_ms >= now_ms:
            return [now]
        points: list[tuple[int, int]] = []
        if first_ms > days_ms[0]:  # the books begin here, with whatever was booked first
            points.append((first_ms, balance_as_of(connection, organization, first_ms)))
        points += midnight_balances(connection, organization, [at_ms for at_ms in days_ms if at_ms > first_ms])
        return [point for point in points if point[0] < now_ms] + [now]

    # -- what was used ---------------------------------------------------------

    def _burn(
        self,
        connection: sa.Connection,
        principal: Principal,
        organization: str,
        by: str,
        days_ms: tuple[int, ...],
        now_ms: int,
    ) -> Burn:
        def used(meters: Iterable[Meter]) -> dict[str, Days]:
            return daily_units(connection, meters, days_ms, now_ms)

        if by == "spec":
            return self._by_spec(connection, principal, organization, days_ms, now_ms)
        if principal.is_admin(organization):
            prefix = f"{organization}/{by}/"
            parts = used(list_meters(connection, prefix))
            burn = Burn({scope.removeprefix(prefix): days for scope, days in parts.items()}, {})
            rest = _rest(used([read_meter(connection, organization)]).values(), burn.groups.values())
        else:
            burn, rest = self._share(connection, principal, organization, by, used)
        if any(rest):
            burn.groups[""] = rest
            burn.titles[""] = "Storage of teams" if by == "person" else "No team"
        if by == "team":
            burn.titles |= {name: team.title for name, team in self._core.organization(organization).teams.items()}
        return burn

    def _share(
        self, connection: sa.Connection, principal: Principal, organization: str, by: str, used: Used
    ) -> tuple[Burn, Days]:
        """What the teams that a manager manages used, and the own share of the other teams; and what of it
        belongs to no person."""
        managed = _managed(principal, organization)
        burn, of_people, of_teams = Burn({}, {}), [], []
        prefix = f"{organization}/member/"
        for scope, days in used(self._members(connection, principal, organization, managed)).items():
            team, person = scope.removeprefix(prefix).split("/", 1)
            if by == "person" or team not in managed:
                burn.add(person if by == "person" else team, days)
            if team in managed:
                of_people.append(days)
        for scope, days in used(read_meter(connection, team_scope(organization, t)) for t in managed).items():
            of_teams.append(days)
            if by == "team":
                burn.add(scope.rsplit("/", 1)[1], days)
        return burn, _rest(of_teams, of_people) if by == "person" else ()

    def _members(
        self, connection: sa.Connection, principal: Principal, organization: str, managed: Sequence[str]
    ) -> Iterable[Meter]:
        for team in self._core.organization(organization).teams:
            if team in managed:
                yield from list_meters(connection, f"{organization}/member/{team}/")
            else:  # also of a team that the person has left since
                yield read_meter(connection, f"{organization}/member/{team}/{principal.name}")

    def _by_spec(
        self,
        connection: sa.Connection,
        principal: Principal,
        organization: str,
        days_ms: tuple[int, ...],
        now_ms: int,
    ) -> Burn:
        if principal.is_admin(organization):
            prefix = f"{organization}/class/"
            parts = daily_units(connection, list_meters(connection, prefix), days_ms, now_ms)
            classes = [(UsageClass.from_key(scope.removeprefix(prefix)), days) for scope, days in parts.items()]
            items = [((usage.kind, usage.item), days) for usage, days in classes]
        else:
            mine = sa.or_(spans.c.person == principal.name, spans.c.team.in_(_managed(principal, organization)))
            items = list(daily_units_of_items(connection, organization, days_ms, now_ms, mine).items())
        burn = Burn({}, {"": "Storage"})
        for (kind, item), days in items:
            burn.add(item if kind == COMPUTE else "", days)
        burn.titles |= {name: spec.title for name, spec in self._core.offer.resource_specs.items()}
        return burn

    # -- what happened ---------------------------------------------------------

    async def news(self, principal: Principal, organization: str) -> tuple[Event, ...]:
        """The last things that happened to credits and budgets and touch the person, newest first."""
        self._core.check_member(principal, organization)
        kinds = sa.or_(
            events.c.kind.like("credits-%"), events.c.kind.like("budget-%"), events.c.kind == "termination-soon"
        )
        # what happens to a workspace is told to its owner; that it happened to all is told once
        others = sa.and_(events.c.workspace_id == "", _told(principal, organization))
        mine = events.c.person == principal.name
        found = await self._core.database.run(
            lambda c: list_events(c, events.c.organization == organization, kinds, sa.or_(mine, others), limit=NEWS_MAX)
        )
        return tuple(event for _, event in reversed(found))


def _told(principal: Principal, organization: str) -> sa.ColumnElement[bool]:
    if principal.is_admin(organization):
        return sa.true()
    teams = [m.team for m in principal.memberships if m.organization == organization]
    to_team = sa.and_(events.c.team.in_(teams), events.c.person == "")
    to_all = sa.and_(events.c.team == "", events.c.person == "")
    return sa.or_(to_all, to_team, events.c.team.in_(_managed(principal, organization)))


def _managed(principal: Principal, organization: str) -> list[str]:
    return [
        m.team
        for m in principal.memberships
        if m.organization == organization and m.role is Role.MANAGER and m.team is not None
    ]


def _points(found: Iterable[tuple[int, int]]) -> tuple[BalancePoint, ...]:
    return tuple(BalancePoint(at_ms=at_ms, balance_micros=balance) for at_ms, balance in found)


def _cut(points: Sequence[tuple[int, int]], rate_micros_per_hour: int, until_ms: int) -> list[tuple[int, int]]:
    """A forecast up to an instant; one that stands still goes on to it."""
    kept = [point for point in points if point[0] <= until_ms]
    if len(kept) < len(points):
        (from_ms, from_micros), (to_ms, to_micros) = kept[-1], points[len(kept)]
        gone = divide_half_even((to_micros - from_micros) * (until_ms - from_ms), to_ms - from_ms)
        kept.append((until_ms, from_micros + gone))
    elif not rate_micros_per_hour and kept[-1][0] < until_ms:
        kept.append((until_ms, kept[-1][1]))
    return kept


def _sum(parts: Iterable[Days]) -> Days:
    return tuple(sum(day) for day in zip(*parts, strict=True))


def _rest(whole: Iterable[Days], parts: Iterable[Days]) -> Days:
    """What is left of a whole without its parts."""
    every = list(whole)
    return _sum([*every, *(tuple(-units for units in days) for days in parts)]) if every else ()


def _largest(burn: Burn) -> tuple[BurnGroup, ...]:
    """The groups that used anything, the largest first; the smallest are put together."""
    ordered = sorted(((name, days) for name, days in burn.groups.items() if any(days)), key=lambda g: (-sum(g[1]), g))
    groups = [_group(name, burn.titles.get(name, name), days) for name, days in ordered[:GROUPS_MAX]]
    others = ordered[GROUPS_MAX:]
    if others:
        groups.append(_group("", f"{len(others)} others", _sum(days for _, days in others)))
    return tuple(groups)


def _group(name: str, title: str, days: Days) -> BurnGroup:
    return BurnGroup(
        name=name,
        title=title,
        day_micros=tuple(divide_half_even(units, HOUR_MS) for units in days),
        total_micros=divide_half_even(sum(days), HOUR_MS),
    )
