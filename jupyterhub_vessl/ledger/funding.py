"""Grants in the books: when they begin, what they pay for, when they end; and the state of credits that results.

A grant is booked when it becomes effective.  What it pays for is known at any instant (`model.funds`) and
booked, as a transfer to the wallet, when it ends and when a day closes.  Such a transfer moves no balance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import sqlalchemy as sa

from ..model.balance import Balance, term
from ..model.credit import CreditState, drawn_term
from ..model.funds import Applies, Claim, Fund, burn_order, draw, overpaid_units, payers, rates_by_fund, used_up_ms
from ..model.money import HOUR_MS, Accrual
from ..model.usage import OpenUsage, UsageClass, micros_of
from .meters import Meter, list_meters, read_meter
from .postings import BREAKAGE, CREDITS, GRANT, PROMOTIONS, Transaction, balance_row, post
from .prepared import Prepared
from .schema import balances, grants, spans

SCHEDULED, LIVE, USED, EXPIRED, VOIDED = "scheduled", "live", "used", "expired", "voided"
EXACT_SPANS_MAX = 100
"""With up to so many open spans every decision looks at them; with more, the sums decide, and the spans are looked
at only when a threshold is near."""

_ACCRUALS = Prepared(
    sa.select(spans.c.rate_micros_per_hour, spans.c.started_ms).where(
        spans.c.organization == sa.bindparam("of"), spans.c.ended_ms.is_(None)
    )
)


@dataclass(frozen=True)
class Grant:
    """Promotional credits of an organization as recorded; see `schema.grants`."""

    id: str
    number: int
    organization: str
    title: str
    actor: str
    created_ms: int
    amount_micros: int
    priority: int
    effective_ms: int
    expires_ms: int | None
    applies: Applies
    state: str
    ended_ms: int | None
    drawn_units: int
    booked_micros: int

    @property
    def fund(self) -> Fund:
        """As the pure decisions take it."""
        return Fund(
            self.id, self.number, self.priority, self.expires_ms, self.applies, self.amount_micros, self.drawn_units
        )

    @property
    def account(self) -> str:
        """Its account's name, without the organization."""
        return f"{GRANT}{self.number}"


@cache
def _applies(text: str) -> Applies:
    return Applies.model_validate_json(text)


def _grant(row: Sequence[Any]) -> Grant:
    values = dict(zip(_COLUMNS, row, strict=True))
    units = values.pop("drawn_micros") * HOUR_MS + values.pop("drawn_rest")
    values["applies"] = _applies(values["applies"])
    return Grant(**values, drawn_units=units)


_COLUMNS = tuple(grants.c.keys())


@cache
def _grants_in(states: tuple[str, ...]) -> Prepared:
    query = sa.select(grants).where(grants.c.organization == sa.bindparam("of"))
    if states:
        query = query.where(sa.or_(*(grants.c.state == state for state in states)))
    return Prepared(query.order_by(grants.c.number))


def list_grants(connection: sa.Connection, organization: str, *states: str) -> tuple[Grant, ...]:
    """Grants of an organization, oldest first; those in some states, or all."""
    return tuple(map(_grant, _grants_in(states).run(connection, {"of": organization})))


def insert_grant(connection: sa.Connection, grant: Grant, now_ms: int) -> None:
    """Record a grant; it becomes live by `advance`, at once when it is effective already."""
    advance(connection, grant.organization, now_ms)
    values = vars(grant) | {"applies": grant.applies.model_dump_json(exclude_defaults=True)}
    drawn_micros, drawn_rest = micros_of(values.pop("drawn_units"))
    connection.execute(grants.insert().values(values | {"drawn_micros": drawn_micros, "drawn_rest": drawn_rest}))
    if not balance_row(connection, grant.organization)[2]:
        _set_funded(connection, grant.organization, now_ms)
    _begin(connection, grant.organization, now_ms, now_ms)


def next_grant_number(connection: sa.Connection) -> int:
    """The number of the next grant; they count from 1 over all organizations."""
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(grants.c.number), 0))).scalar_one()) + 1


def _set_funded(connection: sa.Connection, organization: str, at_ms: int) -> None:
    changed = connection.execute(
        balances.update().where(balances.c.organization == organization).values(funded_ms=at_ms)
    )
    if not changed.rowcount:
        row = {"organization": organization, "settled_micros": 0, "granted_micros": 0, "funded_ms": at_ms}
        connection.execute(balances.insert().values(row))


def class_rates(connection: sa.Connection, organization: str) -> dict[UsageClass, int]:
    """What each class of usage of an organization burns now, in micro-credits per hour; classes at rest left out."""
    prefix = f"{organization}/class/"
    return {
        UsageClass.from_key(meter.scope.removeprefix(prefix)): meter.usage.rate_micros_per_hour
        for meter in list_meters(connection, prefix)
        if meter.usage.rate_micros_per_hour
    }


def advance(connection: sa.Connection, organization: str, now_ms: int) -> None:
    """Bring an organization's grants up to now: begin, draw, use up and expire, each at its own instant.

    Must come before anything that changes what is being used.  Costs one look when there are no grants.
    """
    funded_ms = balance_row(connection, organization)[2]
    if not funded_ms or funded_ms >= now_ms:
        return
    rates = class_rates(connection, organization)
    while funded_ms < now_ms:
        upcoming = list_grants(connection, organization, SCHEDULED)
        live = list_grants(connection, organization, LIVE)
        ends = [g.expires_ms for g in live if g.expires_ms is not None] + [g.effective_ms for g in upcoming]
        used_up = used_up_ms(rates, [g.fund for g in live], funded_ms)
        if used_up is not None:
            ends.append(used_up)
        until_ms = min([now_ms, *(at for at in ends if at > funded_ms)])
        drawn = {fund.id: fund for fund in draw(rates, [g.fund for g in live], funded_ms, until_ms)}
        for grant in live:
            _keep_drawn(connection, grant, drawn[grant.id], until_ms, now_ms)
        _begin(connection, organization, until_ms, now_ms)
        funded_ms = until_ms
    left = list_grants(connection, organization, SCHEDULED, LIVE)
    _set_funded(connection, organization, funded_ms if left else 0)


def _keep_drawn(connection: sa.Connection, grant: Grant, fund: Fund, at_ms: int, now_ms: int) -> None:
    grant = replace(grant, drawn_units=fund.drawn_units)
    if fund.left_units == 0:
        end_grant(connection, grant, USED, at_ms, now_ms, "service", "used up")
    elif grant.expires_ms is not None and grant.expires_ms <= at_ms:
        end_grant(connection, grant, EXPIRED, grant.expires_ms, now_ms, "service", "expired")
    else:
        _save_drawn(connection, grant)


def _save_drawn(connection: sa.Connection, grant: Grant, **more: Any) -> None:
    drawn_micros, drawn_rest = micros_of(grant.drawn_units)
    values = {"drawn_micros": drawn_micros, "drawn_rest": drawn_rest, "booked_micros": grant.booked_micros} | more
    connection.execute(grants.update().where(grants.c.id == grant.id).values(values))


def _begin(connection: sa.Connection, organization: str, at_ms: int, now_ms: int) -> None:
    """Book grants that are effective by now."""
    for grant in list_grants(connection, organization, SCHEDULED):
        if grant.effective_ms > at_ms:
            continue
        begin = _transaction(grant, "grant", grant.effective_ms, now_ms, grant.actor, grant.title)
        post(connection, begin, {grant.account: grant.amount_micros, PROMOTIONS: -grant.amount_micros})
        connection.execute(grants.update().where(grants.c.id == grant.id).values(state=LIVE))


def _transaction(grant: Grant, kind: str, at_ms: int, now_ms: int, actor: str, reason: str) -> Transaction:
    return Transaction(
        organization=grant.organization,
        kind=kind,
        at_ms=at_ms,
        recorded_ms=now_ms,
        actor=actor,
        reason=reason,
        source=f"grant {grant.number}",
        item=grant.id,
    )


def book_draw(connection: sa.Connection, grant: Grant, at_ms: int, now_ms: int) -> Grant:
    """Book what a grant has paid for and was not booked yet: from the grant's account to the wallet."""
    amount = grant.fund.drawn_micros - grant.booked_micros
    if amount:
        transfer = _transaction(grant, "draw", at_ms, now_ms, "service", grant.title)
        post(connection, transfer, {grant.account: -amount, CREDITS: amount})
    return replace(grant, booked_micros=grant.booked_micros + amount)


def book_draws(connection: sa.Connection, organization: str, at_ms: int, now_ms: int) -> None:
    """Book what all live grants have paid for so far, at the close of a day."""
    for grant in list_grants(connection, organization, LIVE):
        _save_drawn(connection, book_draw(connection, grant, at_ms, now_ms))


def end_grant(
    connection: sa.Connection, grant: Grant, state: str, at_ms: int, now_ms: int, actor: str, reason: str
) -> int:
    """End a live grant: book what it paid for, and what is left of it as breakage or as taken back.

    Returns what was left, in micro-credits.
    """
    grant = book_draw(connection, grant, at_ms, now_ms)
    left = grant.amount_micros - grant.booked_micros
    if left:
        kind, other = ("void", PROMOTIONS) if state == VOIDED else ("expiry", BREAKAGE)
        end = _transaction(grant, kind, at_ms, now_ms, actor, reason)
        post(connection, end, {grant.account: -left, other: left})
    _save_drawn(connection, grant, state=state, ended_ms=at_ms)
    return left


def drop_scheduled(connection: sa.Connection, grant: Grant, now_ms: int) -> None:
    """Take back a grant that has not begun: nothing of it was ever booked."""
    connection.execute(grants.update().where(grants.c.id == grant.id).values(state=VOIDED, ended_ms=now_ms))
    if not list_grants(connection, grant.organization, SCHEDULED, LIVE):
        _set_funded(connection, grant.organization, 0)


def take_back(connection: sa.Connection, organization: str, usage: UsageClass, rate: int, end_ms: int) -> None:
    """Give back to the live grants what they paid for usage that had ended before (`model.funds.overpaid_units`)."""
    funded_ms = balance_row(connection, organization)[2]
    if not funded_ms or funded_ms <= end_ms:
        return
    known = {g.id: g for g in list_grants(connection, organization) if g.state != SCHEDULED}
    claims = [Claim(g.fund, g.effective_ms, g.ended_ms) for g in known.values()]
    for grant_id, units in overpaid_units(claims, usage, rate, end_ms, funded_ms).items():
        grant = known[grant_id]
        _save_drawn(connection, replace(grant, drawn_units=grant.drawn_units - units))


def credit_state(
    connection: sa.Connection,
    organization: str,
    currency: str,
    now_ms: int,
    *,
    exact: bool | None = None,
    exact_up_to: int = EXACT_SPANS_MAX,
) -> CreditState:
    """An organization's credits at an instant, as the pure decisions take them.

    ``exact`` loads every open span (True), none (False), or all if there are no more than ``exact_up_to`` (None).
    """
    advance(connection, organization, now_ms)
    settled, granted, funded_ms = balance_row(connection, organization)
    meter = read_meter(connection, organization)
    terms = None
    if exact or (exact is None and meter.usage.spans <= exact_up_to):
        terms = tuple(term(Accrual(int(r), int(s))) for r, s in _ACCRUALS.run(connection, {"of": organization}))
    base = settled + meter.open_settled_micros
    total = Balance(base, meter.usage, terms)
    if not funded_ms:
        return CreditState(currency=currency, total=total, wallet=total, workspaces=meter.workspaces)
    return _with_grants(connection, organization, currency, funded_ms, base - granted, total, meter)


def _with_grants(
    connection: sa.Connection,
    organization: str,
    currency: str,
    funded_ms: int,
    base_micros: int,
    total: Balance,
    meter: Meter,
) -> CreditState:
    rates = class_rates(connection, organization)
    known = list_grants(connection, organization, SCHEDULED, LIVE)
    live = [g for g in known if g.state == LIVE]
    funds = burn_order(g.fund for g in live)
    paid = rates_by_fund(rates, funds)
    gained = tuple(drawn_term(fund, paid.get(fund.id, 0), funded_ms) for fund in funds)
    line = OpenUsage(
        meter.usage.spans + len(gained),
        meter.usage.rate_micros_per_hour - sum(paid.values()),
        meter.usage.origin_units - sum(g.origin_units for g in gained),
    )
    wallet = Balance(base_micros - sum(g.booked_micros for g in live), line, total.spent, gained)
    events = [g.expires_ms for g in live if g.expires_ms is not None]
    events += [g.effective_ms for g in known if g.state == SCHEDULED]
    used_up = used_up_ms(rates, funds, funded_ms)
    if used_up is not None:
        events.append(used_up)
    by_class: Mapping[UsageClass, Fund | None] = payers(rates, funds)
    return CreditState(
        currency=currency,
        total=total,
        wallet=wallet,
        funds=funds,
        paid_by={usage: fund.id for usage, fund in by_class.items() if fund is not None},
        funded_ms=funded_ms,
        next_event_ms=min(events, default=None),
        rates=rates,
        scheduled=tuple((g.effective_ms, g.fund) for g in known if g.state == SCHEDULED),
        workspaces=meter.workspaces,
    )
