"""The audit: everything that is cached, made again from what is not, and compared.

Entries are the truth about money, spans about usage.  Balances, meters and what transactions say of themselves
are caches; an audit finds every one that differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from ..model.limits import month_start_ms
from ..model.money import Accrual, cumulative_micros, format_credits
from ..model.units import counted
from ..model.usage import OpenUsage, UsageClass, day_start_ms, units_between
from .funding import LIVE, list_grants
from .meters import CLOSED, Meter, keep_closings, list_meters, replace_meters, scopes_of
from .postings import GRANT, is_credit
from .schema import admissions, balances, closings, entries, marks, spans, transactions, workspaces

METERS_MADE = "meters"


@dataclass(frozen=True)
class Difference:
    """Something that is not what it must be.  Money in micro-credits."""

    what: str
    expected: int
    found: int

    def sentence(self) -> str:
        """For people."""
        return f"{self.what}: {self.found} is recorded, {self.expected} follows from the books"


@dataclass(frozen=True)
class AuditReport:
    """What an audit looked at and what it found.

    ``balances_micros`` are the balances made again from the entries, by account.
    """

    transactions: int
    balances_micros: dict[str, int]
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Whether the books are in order."""
        return not self.differences

    def headline(self) -> str:
        """One sentence."""
        looked = counted(self.transactions, "transaction")
        found = counted(len(self.differences), "difference") if self.differences else "every balance is right"
        return f"{looked}: {found}, and all accounts together sum to {format_credits(self.sum_micros, decimals=6)}"

    @property
    def sum_micros(self) -> int:
        """All accounts together: 0."""
        return sum(self.balances_micros.values())


def audit(connection: sa.Connection) -> AuditReport:
    """Rebuild every balance from the entries and compare it with what is kept."""
    found: list[Difference] = []
    grouped = sa.select(entries.c.account, sa.func.sum(entries.c.amount_micros)).group_by(entries.c.account)
    accounts = {name: int(total) for name, total in connection.execute(grouped)}
    uneven = (
        sa.select(entries.c.transaction_serial, sa.func.sum(entries.c.amount_micros).label("total"))
        .group_by(entries.c.transaction_serial)
        .having(sa.func.sum(entries.c.amount_micros) != 0)
        .limit(100)
    )
    for serial, total in connection.execute(uneven):
        found.append(Difference(f"sum of transaction {serial}", 0, int(total)))
    found += _balances(connection, accounts)
    # the writer counts them one by one, and nothing is ever deleted
    last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(transactions.c.serial), 0))).scalar_one()
    return AuditReport(int(last), accounts, tuple(found))


def _balances(connection: sa.Connection, accounts: dict[str, int]) -> list[Difference]:
    found: list[Difference] = []
    credits: dict[str, int] = {}
    granted: dict[str, int] = {}
    for name, total in accounts.items():
        organization, kind = name.split("/", 1)
        if kind.startswith(GRANT):
            granted[organization] = granted.get(organization, 0) + total
        if is_credit(kind):
            credits[organization] = credits.get(organization, 0) + total
    kept = {row.organization: row for row in connection.execute(sa.select(balances))}
    for organization in sorted({*credits, *kept}):
        row = kept.get(organization)
        pairs = [
            ("balance", credits.get(organization, 0), int(row.settled_micros) if row else 0),
            ("credits in grants", granted.get(organization, 0), int(row.granted_micros) if row else 0),
        ]
        mine = transactions.c.organization == organization
        last = sa.select(transactions.c.balance_micros).where(mine).order_by(transactions.c.serial.desc()).limit(1)
        pairs.append(("balance after the last movement", pairs[0][1], int(connection.execute(last).scalar() or 0)))
        found += [Difference(f"{organization}: {what}", right, has) for what, right, has in pairs if right != has]
        for grant in list_grants(connection, organization):
            left = grant.amount_micros - grant.booked_micros if grant.state == LIVE else 0
            has = accounts.get(f"{organization}/{grant.account}", 0)
            if left != has:
                found.append(Difference(f"{organization}: left of grant {grant.number}", left, has))
    return found


def audit_usage(connection: sa.Connection, now_ms: int) -> tuple[Difference, ...]:
    """Rebuild what was booked for each span, every meter, and what movements say, and compare.

    Looks at every transaction and every span ever.
    """
    found = _movements(connection)
    usage = transactions.c.kind.in_(("usage", "correction"))
    booked = dict(
        connection.execute(
            sa.select(transactions.c.span_id, sa.func.sum(-transactions.c.amount_micros))
            .where(usage)
            .group_by(transactions.c.span_id)
        ).all()
    )
    for span in connection.execute(sa.select(spans)):
        has = int(booked.pop(span.id, 0))
        right = cumulative_micros(Accrual(span.rate_micros_per_hour, span.started_ms), span.settled_ms)
        if right != has:
            found.append(Difference(f"booked for span {span.id}", right, has))
    found += [Difference(f"booked for no span {name}", 0, int(has)) for name, has in booked.items()]
    expected = rebuild_meters(connection, now_ms)
    kept = {meter.scope: meter for meter in list_meters(connection)}
    for scope in sorted({*expected, *kept}):
        blank = Meter(scope, scope.split("/", 1)[0])
        right_meter = replace(expected.get(scope, blank), changed_ms=0)
        kept_meter = replace(kept.get(scope, blank), changed_ms=0)
        if right_meter != kept_meter:
            found.append(Difference(f"meter {scope}", right_meter.used_units(now_ms), kept_meter.used_units(now_ms)))
    return tuple(found)


def _movements(connection: sa.Connection) -> list[Difference]:
    """What transactions say that they changed, against their entries."""
    said = sa.select(transactions.c.organization, sa.func.sum(transactions.c.amount_micros))
    sums = {name: int(total) for name, total in connection.execute(said.group_by(transactions.c.organization))}
    totals = sa.select(entries.c.account, sa.func.sum(entries.c.amount_micros)).group_by(entries.c.account)
    booked: dict[str, int] = {}
    for name, total in connection.execute(totals):
        organization, kind = name.split("/", 1)
        if is_credit(kind):
            booked[organization] = booked.get(organization, 0) + int(total)
    return [
        Difference(f"{name}: sum of movements", booked.get(name, 0), sums.get(name, 0))
        for name in sorted({*sums, *booked})
        if booked.get(name, 0) != sums.get(name, 0)
    ]


def ensure_meters(connection: sa.Connection, now_ms: int) -> None:
    """Make the meters of a database that has none yet: books from before there were meters."""
    if connection.execute(sa.select(marks.c.name).where(marks.c.name == METERS_MADE)).scalar() is None:
        replace_meters(connection, rebuild_meters(connection, now_ms).values())
        connection.execute(closings.delete())
        for midnight_ms in sorted({month_start_ms(now_ms), day_start_ms(now_ms)}):
            keep_closings(connection, midnight_ms, _used_units(connection, midnight_ms))
        connection.execute(marks.delete().where(marks.c.name == CLOSED))
        for name, value_ms in ((METERS_MADE, now_ms), (CLOSED, day_start_ms(now_ms))):
            connection.execute(marks.insert().values(name=name, value_ms=value_ms))


def _used_units(connection: sa.Connection, at_ms: int) -> dict[str, int]:
    """What every scope had used by an instant, in units, made from the spans alone."""
    found: dict[str, int] = {}
    for span in connection.execute(sa.select(spans).where(spans.c.started_ms < at_ms)):
        until_ms = at_ms if span.ended_ms is None else min(at_ms, span.ended_ms)
        usage = UsageClass(span.kind, span.item, span.gpus > 0)
        for scope in scopes_of(span.organization, span.team, span.person, usage):
            units = units_between(span.rate_micros_per_hour, span.started_ms, until_ms)
            found[scope] = found.get(scope, 0) + units
    return found


class _Sums:
    """Meters in the making."""

    def __init__(self, now_ms: int) -> None:
        self.meters: dict[str, Meter] = {}
        self._now_ms = now_ms

    def add(
        self,
        scopes: Iterable[str],
        *,
        usage: OpenUsage | None = None,
        settled: int = 0,
        closed: int = 0,
        workspaces: int = 0,
        gpus: int = 0,
        storage_bytes: int = 0,
    ) -> None:
        for scope in scopes:
            before = self.meters.get(scope) or Meter(scope, scope.split("/", 1)[0])
            more = usage or OpenUsage()
            organization = scope == before.organization
            self.meters[scope] = replace(
                before,
                usage=OpenUsage(*(a + b for a, b in zip(before.usage, more, strict=True))),
                open_settled_micros=before.open_settled_micros + (settled if organization else 0),
                closed_units=before.closed_units + closed,
                workspaces=before.workspaces + workspaces,
                gpus=before.gpus + gpus,
                storage_bytes=before.storage_bytes + storage_bytes,
                changed_ms=self._now_ms,
            )


def rebuild_meters(connection: sa.Connection, now_ms: int) -> dict[str, Meter]:
    """What the meters must be, by scope, made from spans, admissions and workspaces alone."""
    sums = _Sums(now_ms)
    for span in connection.execute(sa.select(spans)):
        scopes = scopes_of(span.organization, span.team, span.person, UsageClass(span.kind, span.item, span.gpus > 0))
        rate = span.rate_micros_per_hour
        if span.ended_ms is None:
            open_now = OpenUsage(1, rate, -rate * span.started_ms)
            booked = cumulative_micros(Accrual(rate, span.started_ms), span.settled_ms)
            sums.add(scopes, usage=open_now, settled=booked)
            if span.kind == "storage" and not span.workspace_id:
                sums.add(scopes_of(span.organization, span.team, ""), storage_bytes=span.size_bytes)
        else:
            sums.add(scopes, closed=rate * (span.ended_ms - span.started_ms))
    for plan in _plans(connection, sa.select(admissions.c.plan).where(admissions.c.ended_ms.is_(None))):
        scopes = scopes_of(plan["organization"], plan["team"], plan["user"])
        sums.add(scopes, workspaces=1, gpus=plan["spec"]["gpu_count"])
    for plan in _plans(connection, sa.select(workspaces.c.plan).where(workspaces.c.slot.is_not(None))):
        size = sum(m["size_bytes"] for m in plan["mounts"] if m["kind"] == "workspace")
        sums.add(scopes_of(plan["organization"], plan["team"], plan["user"]), storage_bytes=size)
    return sums.meters


def _plans(connection: sa.Connection, query: sa.Select[Any]) -> Iterable[dict[str, Any]]:
    for (text,) in connection.execute(query):
        yield json.loads(text)
