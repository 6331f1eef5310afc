"""Statements, exports and audits: who may see which, and how a million lines leave page by page."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

import sqlalchemy as sa

from ..ledger.organization_audit import audit_organization
from ..ledger.records import titles_of, workspace_by_id
from ..ledger.statements import (
    Key,
    Line,
    Scope,
    Snapshot,
    Sum,
    Sums,
    Window,
    add_range,
    begin_sums,
    lines,
    take_snapshot,
)
from ..model.errors import BadInput, NotAllowed, NotFound
from ..model.identity import Principal, Role
from ..model.limits import month_start_ms
from ..model.money import HOUR_MS
from ..model.units import GIB
from ..model.usage import STORAGE
from ..model.wire_statements import AuditDifference, AuditView, Statement, StatementLine, StatementTotal
from . import focus
from .core import Core
from .workspaces import may_see

SUM_SERIALS = 50_000
EXPORT_SERIALS = 2_000
TITLES = 500
"""How much is read in one transaction, so that nothing else waits long for the database."""

CSV, JSON, FOCUS = "csv", "json", "focus"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a text for a formula."""


@dataclass(frozen=True)
class Asked:
    """What a statement or an export is about, as it was asked for; instants in UTC milliseconds."""

    from_ms: int | None = None
    to_ms: int | None = None
    team: str = ""
    user: str = ""
    workspace_id: str = ""


@dataclass(frozen=True)
class Download:
    """A file to send: its name, its type and its text in pieces."""

    name: str
    content_type: str
    pieces: AsyncIterator[str]


class Statements:
    """Says what moved credits."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def statement(self, principal: Principal, organization: str, asked: Asked) -> Statement:
        """Opening, what moved the credits, and closing; see `scope_for` for who may see which.

        Raises `NotFound`, `NotAllowed`, and `BadInput` for a period that is empty or yet to come.
        """
        scope, window, snapshot = await self._begin(principal, organization, asked)
        sums = begin_sums(snapshot)
        for after, upto in snapshot.ranges(SUM_SERIALS, opening=True):
            await self._core.database.run(
                lambda c, after=after, upto=upto: add_range(  # type: ignore[misc]
                    c, scope, window, sums, after=after, upto=upto, first=snapshot.first
                )
            )
        titles = await self._titles({key.workspace_id for key in sums.lines if key.workspace_id})
        return self._view(organization, asked, scope, window, sums, titles)

    async def export(self, principal: Principal, organization: str, asked: Asked, kind: str) -> Download:
        """The same line by line, as ``csv``, ``json`` or ``focus``.  Raises what `statement` does."""
        if kind not in (CSV, JSON, FOCUS):
            raise BadInput(f"The format is {CSV}, {JSON} or {FOCUS}.", field="format")
        scope, window, snapshot = await self._begin(principal, organization, asked)
        body = self._core.organization(organization)
        account = focus.Account(
            organization, body.title, body.currency, {name: team.title for name, team in body.teams.items()}
        )
        days = "-".join(_day(at_ms) for at_ms in (window.from_ms, window.end_ms))
        render, name, content_type = {
            CSV: (_csv_of(account), f"{organization}-{days}.csv", "text/csv; charset=utf-8"),
            JSON: (_json_of(account), f"{organization}-{days}.json", "application/json"),
            FOCUS: (_focus_of(account), f"{organization}-{days}-focus.csv", "text/csv; charset=utf-8"),
        }[kind]
        draws = kind == FOCUS and scope.whole
        return Download(name, content_type, self._pieces(scope, window, snapshot, render, draws))

    async def audit(self, principal: Principal, organization: str) -> AuditView:
        """The books of an organization made again and compared; for its admins."""
        self._core.check_member(principal, organization)
        if not principal.is_admin(organization):
            raise NotAllowed("Only an admin of the organization can audit its books.")
        now_ms = self._core.clock.now_ms()
        report = await self._core.database.run(lambda c: audit_organization(c, organization, now_ms))
        return AuditView(
            organization=organization,
            currency=self._core.organization(organization).currency,
            ok=report.ok,
            transactions=report.transactions,
            balances_micros=report.balances_micros,
            differences=tuple(AuditDifference(**vars(difference)) for difference in report.differences),
            at_ms=now_ms,
        )

    # -- reading ---------------------------------------------------------------

    async def _begin(self, principal: Principal, organization: str, asked: Asked) -> tuple[Scope, Window, Snapshot]:
        self._core.check_member(principal, organization)
        scope = scope_for(principal, organization, asked)
        window = window_for(asked, self._core.clock.now_ms())

        def work(connection: sa.Connection) -> Snapshot:
            if asked.workspace_id:
                workspace = workspace_by_id(connection, asked.workspace_id)
                if workspace is None or workspace.organization != organization or not may_see(principal, workspace):
                    raise NotFound("There is no such workspace.", field="workspace")
            return take_snapshot(connection, scope, window)

        return scope, window, await self._core.database.run(work)

    async def _titles(self, workspace_ids: set[str]) -> dict[str, str]:
        ordered, found = sorted(workspace_ids), dict[str, str]()
        for start in range(0, len(ordered), TITLES):
            some = ordered[start : start + TITLES]
            found |= await self._core.database.run(lambda c, some=some: titles_of(c, some))  # type: ignore[misc]
        return found

    def _view(
        self, organization: str, asked: Asked, scope: Scope, window: Window, sums: Sums, titles: dict[str, str]
    ) -> Statement:
        totals: dict[str, int] = {}
        for key, line in sums.lines.items():
            totals[key.kind] = totals.get(key.kind, 0) + line.amount_micros
        return Statement(
            organization=organization,
            currency=self._core.organization(organization).currency,
            team=asked.team,
            user=asked.user,
            workspace_id=asked.workspace_id,
            narrowed=scope.only is not None,
            from_ms=window.from_ms,
            to_ms=window.end_ms,
            opening_micros=sums.opening_micros,
            closing_micros=sums.closing_micros,
            lines=tuple(_line(key, sums.lines[key], titles) for key in sorted(sums.lines)),
            totals=tuple(StatementTotal(kind=kind, amount_micros=totals[kind]) for kind in sorted(totals)),
            unbooked_micros=sums.unbooked_micros,
            at_ms=window.now_ms,
        )

    async def _pieces(
        self, scope: Scope, window: Window, snapshot: Snapshot, render: Renderer, draws: bool
    ) -> AsyncIterator[str]:
        yield render.head
        first = True
        for after, upto in snapshot.ranges(EXPORT_SERIALS):
            found = await self._core.database.run(
                lambda c, after=after, upto=upto: lines(  # type: ignore[misc]
                    c, scope, window, after=after, upto=upto, draws=draws
                )
            )
            if found:
                # off the event loop, which serves everybody else
                yield await asyncio.to_thread(render.page, found, first)
                first = False
        for start in range(0, len(snapshot.open), EXPORT_SERIALS):
            found = list(snapshot.open[start : start + EXPORT_SERIALS])
            yield await asyncio.to_thread(render.page, found, first)
            first = False
        yield render.foot


def scope_for(principal: Principal, organization: str, asked: Asked) -> Scope:
    """What a person gets who asks for something, without more than that person may see.

    An admin sees all; a manager the usage of the own teams and of people in them; everybody the own usage.  Asked
    for the organization, others than admins get the usage that they may see, and nothing of what comes in.
    Raises `NotAllowed` where nothing would be left.
    """
    scope = Scope(organization, asked.team, asked.user, asked.workspace_id)
    if principal.is_admin(organization):
        return scope
    teams = tuple(
        m.team
        for m in principal.memberships
        if m.organization == organization and m.role is Role.MANAGER and m.team is not None
    )
    if asked.user and asked.user != principal.name and not teams:
        raise NotAllowed("Only an admin, or a manager of the team, can see what somebody else spent.", field="user")
    if asked.team and asked.team not in teams and asked.user != principal.name:
        raise NotAllowed("Only an admin, or a manager of the team, can see what it spent.", field="team")
    return Scope(organization, asked.team, asked.user, asked.workspace_id, only=(principal.name, teams))


def window_for(asked: Asked, now_ms: int) -> Window:
    """The period that is asked for; without a beginning from that of the month on, without an end until now."""
    from_ms = asked.from_ms
    if from_ms is None:
        from_ms = month_start_ms(now_ms if asked.to_ms is None else min(max(asked.to_ms - 1, 0), now_ms))
    if from_ms > now_ms:
        raise BadInput("That period is yet to come.", field="from")
    if asked.to_ms is not None and asked.to_ms <= from_ms:
        raise BadInput("A period ends after it begins.", field="to")
    return Window(from_ms, asked.to_ms, now_ms)


def _line(key: Key, line: Sum, titles: dict[str, str]) -> StatementLine:
    storage = key.usage == STORAGE
    return StatementLine(
        kind=key.kind,
        item=key.item,
        team=key.team,
        user=key.person,
        workspace_id=key.workspace_id,
        workspace_title=titles.get(key.workspace_id, ""),
        amount_micros=line.amount_micros,
        used_ms=line.used_ms if key.usage else None,
        hours=focus.quantity(line.used_ms, HOUR_MS, 6) if key.usage else None,
        gib_hours=focus.quantity(line.used_byte_ms, HOUR_MS * GIB, 6) if storage else None,
    )


# -- files ---------------------------------------------------------------------


@dataclass(frozen=True)
class Renderer:
    """How lines become a file: what comes first, each page (and whether it is the first), what comes last."""

    head: str
    page: Callable[[list[Line], bool], str]
    foot: str = ""


COLUMNS = (
    "id",
    "at",
    "recorded",
    "kind",
    "amount",
    "currency",
    "booked",
    "item",
    "team",
    "user",
    "workspace_id",
    "workspace",
    "from",
    "to",
    "rate_per_hour",
    "actor",
    "reason",
    "source",
)
"""Columns of csv, and keys of json."""


def _instant(at_ms: int | None) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    if at_ms is None:
        return ""
    moment = datetime.fromtimestamp(at_ms // 1000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // 1000, timezone.utc):%Y%m%d}"


def safe_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _values(line: Line, currency: str, text: Callable[[str], str]) -> tuple[str, ...]:
    """One line in the order of `COLUMNS`; ``text`` makes what people wrote safe."""
    rate = line.rate_micros_per_hour
    return (
        line.id,
        _instant(line.at_ms),
        _instant(line.recorded_ms),
        line.kind,
        focus.decimal(line.amount_micros),
        currency,
        "yes" if line.booked else "no",
        text(line.item),
        text(line.team),
        text(line.person),
        line.workspace_id,
        text(line.workspace_title),
        _instant(line.from_ms),
        _instant(line.to_ms),
        "" if rate is None else focus.decimal(rate),
        text(line.actor),
        text(line.reason),
        text(line.source),
    )


def _csv_text(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _csv_of(account: focus.Account) -> Renderer:
    def page(found: list[Line], _first: bool) -> str:
        return _csv_text(_values(line, account.currency, safe_cell) for line in found)

    return Renderer(_csv_text([COLUMNS]), page)


def _json_of(account: focus.Account) -> Renderer:
    def page(found: list[Line], first: bool) -> str:
        rows = (dict(zip(COLUMNS, _values(line, account.currency, str), strict=True)) for line in found)
        text = ",\n".join(json.dumps({**row, "booked": row["booked"] == "yes"}, ensure_ascii=False) for row in rows)
        return text if first else f",\n{text}"

    return Renderer("[\n", page, "\n]\n")


def _focus_of(account: focus.Account) -> Renderer:
    def cells(line: Line) -> Iterable[str]:
        values = focus.row(line, account)
        return (
            values.get(name, "") if name in focus.NUMBERS else safe_cell(values.get(name, "")) for name in focus.COLUMNS
        )

    def page(found: list[Line], _first: bool) -> str:
        return _csv_text(cells(line) for line in found)

    return Renderer(_csv_text([focus.COLUMNS]), page)
