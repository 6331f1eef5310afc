"""Statements: what moved an organization's credits, or a part of its usage, between two instants, exactly.

A statement covers [from, to).  A moment (a top-up, a grant, a correction) belongs to the statement in which its
instant lies, usage to those in which its time lies: a booking across a boundary is cut there with C(t), and what
open spans have accrued and is not booked counts up to the end, or now.  So statements that follow each other
meet, and opening + lines = closing.

Transactions are read in ranges of serials, each in a short database transaction of its own.  What is booked never
changes, so together with the open spans of the first one (`Snapshot`) they are what was true at one instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..model.money import Accrual, charge_micros, cumulative_micros
from ..model.usage import midnights
from .funding import advance
from .history import MOVING
from .schema import entries, spans, transactions, workspaces

USAGE_KINDS = ("usage", "correction")


@dataclass(frozen=True)
class Scope:
    """Whose movements: an organization's, or the usage of a team, a person or a workspace of it.

    ``only`` (a person and teams) leaves out usage that is neither the person's nor in one of the teams.
    """

    organization: str
    team: str = ""
    person: str = ""
    workspace_id: str = ""
    only: tuple[str, tuple[str, ...]] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all of the organization: what comes in belongs to no part of it."""
        return not (self.team or self.person or self.workspace_id or self.only)

    def conditions(self, table: sa.FromClause) -> list[sa.ColumnElement[bool]]:
        """On `transactions` or `spans`."""
        found: list[sa.ColumnElement[bool]] = [table.c.organization == self.organization]
        if self.team:
            found.append(table.c.team == self.team)
        if self.person:
            found.append(table.c.person == self.person)
        if self.workspace_id:
            found.append(table.c.workspace_id == self.workspace_id)
        if self.only:
            found.append(sa.or_(table.c.person == self.only[0], table.c.team.in_(self.only[1])))
        if table is transactions and not self.whole:
            found.append(table.c.kind.in_(USAGE_KINDS))
        return found


class Window(NamedTuple):
    """[``from_ms``, ``to_ms``), or up to and with ``now_ms`` when ``to_ms`` is None."""

    from_ms: int
    to_ms: int | None
    now_ms: int

    @property
    def end_ms(self) -> int:
        """Until when usage counts."""
        return self.now_ms if self.to_ms is None else min(self.to_ms, self.now_ms)


class Line(NamedTuple):
    """One transaction, or what an open span accrued and is not ``booked``, as far as it is in the window.

    ``usage`` is compute or storage for usage, else empty.  ``corrected_ms`` is when what it takes back was booked
    or, for usage, begun; None when it takes back nothing.  ``drawn_micros`` is what a draw moved from a grant.
    """

    serial: int
    id: str
    at_ms: int
    recorded_ms: int
    kind: str
    amount_micros: int
    actor: str
    reason: str
    source: str
    team: str
    person: str
    workspace_id: str
    workspace_title: str
    item: str
    from_ms: int | None
    to_ms: int | None
    rate_micros_per_hour: int | None
    usage: str
    size_bytes: int
    corrected_ms: int | None
    drawn_micros: int
    booked: bool


class Key(NamedTuple):
    """What lines of a statement are summed by."""

    kind: str
    item: str
    team: str
    person: str
    workspace_id: str
    usage: str


@dataclass
class Sum:
    """Lines together.  ``used_ms`` and ``used_byte_ms`` are time, and bytes times time, of usage."""

    amount_micros: int = 0
    used_ms: int = 0
    used_byte_ms: int = 0


@dataclass
class Sums:
    """A statement in the making."""

    opening_micros: int = 0
    unbooked_micros: int = 0
    lines: dict[Key, Sum] = field(default_factory=dict)

    def add(self, key: Key, amount_micros: int, used_ms: int, size_bytes: int) -> None:
        """Add to one line."""
        line = self.lines.setdefault(key, Sum())
        line.amount_micros += amount_micros
        line.used_ms += used_ms
        line.used_byte_ms += used_ms * size_bytes

    @property
    def closing_micros(self) -> int:
        """Opening + lines."""
        return self.opening_micros + sum(line.amount_micros for line in self.lines.values())


@dataclass(frozen=True)
class Snapshot:
    """What there was at one instant: transactions up to ``last`` and what was not booked of open spans.

    None before ``first`` lies in the window.  ``opening_micros`` is what counts before the window besides
    transactions after ``counted``.
    """

    first: int
    last: int
    counted: int
    opening_micros: int
    open: tuple[Line, ...]

    def ranges(self, size: int, *, opening: bool = False) -> Iterator[tuple[int, int]]:
        """(after, up to) of serials to read, for the lines alone or also for what opens them."""
        start = self.counted if opening else self.first - 1
        for after in range(start, self.last, size):
            yield after, min(after + size, self.last)


def take_snapshot(connection: sa.Connection, scope: Scope, window: Window) -> Snapshot:
    """Where to read a statement from.  Grants are brought up to now first, as for any balance."""
    advance(connection, scope.organization, window.now_ms)
    last = int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(transactions.c.serial), 0))).scalar_one())
    first = _first_serial(connection, window.from_ms, last)
    opening, counted = 0, 0
    if scope.whole:
        counted = first - 1
        newest = sa.select(transactions.c.balance_micros).where(
            transactions.c.organization == scope.organization, transactions.c.serial < first
        )
        opening = int(connection.execute(newest.order_by(transactions.c.serial.desc()).limit(1)).scalar() or 0)
    open_lines, accrued = _open_lines(connection, scope, window)
    return Snapshot(first, last, counted, opening - accrued, open_lines)


def _first_serial(connection: sa.Connection, at_ms: int, last: int) -> int:
    """The first serial that was recorded at an instant or later; nothing before it happened at or after it."""
    low, high = 1, last + 1
    while low < high:
        middle = (low + high) // 2
        query = sa.select(transactions.c.recorded_ms).where(transactions.c.serial >= middle)
        recorded = connection.execute(query.order_by(transactions.c.serial).limit(1)).scalar()
        if recorded is not None and int(recorded) < at_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _open_lines(connection: sa.Connection, scope: Scope, window: Window) -> tuple[tuple[Line, ...], int]:
    """What open spans accrued in the window and is not booked, and what before it."""
    query = (
        sa.select(spans, sa.func.coalesce(workspaces.c.title, "").label("title"))
        .select_from(spans.outerjoin(workspaces, workspaces.c.id == spans.c.workspace_id))
        .where(*scope.conditions(spans), spans.c.ended_ms.is_(None), spans.c.settled_ms < window.end_ms)
    )
    found: list[Line] = []
    before = 0
    for row in connection.execute(query.order_by(spans.c.id)):
        accrual = Accrual(row.rate_micros_per_hour, row.started_ms)
        from_ms, booked = row.settled_ms, cumulative_micros(accrual, row.settled_ms)
        if from_ms < window.from_ms:
            from_ms = window.from_ms
            before += cumulative_micros(accrual, from_ms) - booked
            booked = cumulative_micros(accrual, from_ms)
        # as it would be booked: nothing crosses a UTC midnight
        for at_ms in (*midnights(from_ms, window.end_ms), window.end_ms):
            total = cumulative_micros(accrual, at_ms)
            if total != booked:
                found.append(_open_line(row, from_ms, at_ms, window.now_ms, total - booked))
            from_ms, booked = at_ms, total
    return tuple(found), before


def _open_line(row: sa.Row[Any], from_ms: int, to_ms: int, now_ms: int, amount: int) -> Line:
    return Line(
        serial=0,
        id=row.id,
        at_ms=to_ms,
        recorded_ms=now_ms,
        kind="usage",
        amount_micros=-amount,
        actor=row.person or "service",
        reason="not booked yet",
        source="span",
        team=row.team,
        person=row.person,
        workspace_id=row.workspace_id,
        workspace_title=row.title,
        item=row.item,
        from_ms=from_ms,
        to_ms=to_ms,
        rate_micros_per_hour=row.rate_micros_per_hour,
        usage=row.kind,
        size_bytes=row.size_bytes,
        corrected_ms=None,
        drawn_micros=0,
        booked=False,
    )


# -- what of the transactions is before, in and across the window --------------

_SPREAD = sa.and_(transactions.c.kind == "usage", transactions.c.span_id != "")
_MOMENT = sa.not_(_SPREAD)


def _moment_inside(window: Window) -> sa.ColumnElement[bool]:
    begun = transactions.c.at_ms >= window.from_ms
    return begun if window.to_ms is None else sa.and_(begun, transactions.c.at_ms < window.to_ms)


def _before(window: Window) -> sa.ColumnElement[bool]:
    return sa.or_(
        sa.and_(_SPREAD, transactions.c.at_ms <= window.from_ms),
        sa.and_(_MOMENT, transactions.c.at_ms < window.from_ms),
    )


def _inside(window: Window) -> sa.ColumnElement[bool]:
    spread = sa.and_(_SPREAD, transactions.c.from_ms >= window.from_ms, transactions.c.at_ms <= window.end_ms)
    return sa.or_(spread, sa.and_(_MOMENT, _moment_inside(window)))


def _across(window: Window) -> sa.ColumnElement[bool]:
    at_begin = sa.and_(transactions.c.from_ms < window.from_ms, transactions.c.at_ms > window.from_ms)
    at_end = sa.and_(transactions.c.from_ms < window.end_ms, transactions.c.at_ms > window.end_ms)
    return sa.and_(_SPREAD, sa.or_(at_begin, at_end))


_WITH_SPANS = transactions.outerjoin(spans, spans.c.id == transactions.c.span_id)
_USAGE = sa.func.coalesce(spans.c.kind, "").label("usage")
_SIZE = sa.func.coalesce(spans.c.size_bytes, 0).label("size_bytes")
_KEY = (*(transactions.c[name] for name in ("kind", "item", "team", "person", "workspace_id")), _USAGE)
_USED_MS = sa.case(
    (_SPREAD, transactions.c.to_ms - transactions.c.from_ms),
    (transactions.c.kind == "correction", transactions.c.from_ms - transactions.c.to_ms),
    else_=0,
)


def add_range(
    connection: sa.Connection, scope: Scope, window: Window, sums: Sums, *, after: int, upto: int, first: int
) -> None:
    """Add the transactions of a range of serials to a statement; none before ``first`` lies in the window."""
    these = (*scope.conditions(transactions), transactions.c.serial > after, transactions.c.serial <= upto, MOVING)
    before = sa.select(sa.func.coalesce(sa.func.sum(transactions.c.amount_micros), 0)).where(*these, _before(window))
    sums.opening_micros += int(connection.execute(before).scalar_one())
    if upto < first:
        return
    inside = (
        sa.select(*_KEY, _SIZE, sa.func.sum(transactions.c.amount_micros), sa.func.sum(_USED_MS))
        .select_from(_WITH_SPANS)
        .where(*these, _inside(window))
        .group_by(*_KEY, _SIZE)
    )
    for *key, size, amount, used_ms in connection.execute(inside):
        sums.add(Key(*key), int(amount), int(used_ms or 0), int(size))
    across = (
        sa.select(*_KEY, _SIZE, spans.c.rate_micros_per_hour, spans.c.started_ms, transactions.c.from_ms)
        .add_columns(transactions.c.at_ms)
        .select_from(_WITH_SPANS)
        .where(*these, _across(window))
    )
    for *key, size, rate, started_ms, from_ms, to_ms in connection.execute(across):
        accrual = Accrual(rate, started_ms)
        if from_ms < window.from_ms:
            sums.opening_micros -= charge_micros(accrual, from_ms, window.from_ms)
        cut_from, cut_to = max(from_ms, window.from_ms), min(to_ms, window.end_ms)
        sums.add(Key(*key), -charge_micros(accrual, cut_from, cut_to), cut_to - cut_from, size)


def begin_sums(snapshot: Snapshot) -> Sums:
    """What a statement has before the transactions are added."""
    sums = Sums(opening_micros=snapshot.opening_micros)
    for line in snapshot.open:
        used_ms = (line.to_ms or 0) - (line.from_ms or 0)
        key = Key(line.kind, line.item, line.team, line.person, line.workspace_id, line.usage)
        sums.add(key, line.amount_micros, used_ms, line.size_bytes)
        sums.unbooked_micros += line.amount_micros
    return sums


# -- line by line --------------------------------------------------------------

_DETAILS = (
    *(transactions.c[name] for name in Line._fields[:12]),
    sa.func.coalesce(workspaces.c.title, "").label("workspace_title"),
    *(transactions.c[name] for name in Line._fields[13:17]),
    _USAGE,
    _SIZE,
    sa.case((transactions.c.kind == "correction", transactions.c.from_ms)).label("corrected_ms"),
    sa.literal(0).label("drawn_micros"),
    sa.literal(True).label("booked"),
)


def lines(
    connection: sa.Connection, scope: Scope, window: Window, *, after: int, upto: int, draws: bool = False
) -> list[Line]:
    """The transactions of a range of serials that are in the window, in the order of booking, cut to it.

    With ``draws`` also what grants paid for, which moves no credits of the organization; a draw is booked at the
    end of what it covers, and counts like it.
    """
    source = _WITH_SPANS.outerjoin(workspaces, workspaces.c.id == transactions.c.workspace_id)
    query = (
        sa.select(*_DETAILS, spans.c.started_ms, transactions.c.corrects)
        .select_from(source)
        .where(*scope.conditions(transactions), transactions.c.serial > after, transactions.c.serial <= upto)
        .order_by(transactions.c.serial)
    )
    if not draws:
        query = query.where(MOVING)
    # the window is looked at here: as a condition it makes a database look into all of time for each range
    found: list[Line] = []
    for *values, started_ms, corrects in connection.execute(query):
        line = _cut(Line._make(values), started_ms, window)
        if line is not None:
            found.append(_explained(connection, line, corrects) if corrects or line.kind == "draw" else line)
    return found


def _explained(connection: sa.Connection, line: Line, corrects: str) -> Line:
    """With what few lines have: when what is taken back happened, what a draw moved."""
    if line.kind == "draw":
        drawn = sa.select(sa.func.sum(entries.c.amount_micros)).where(
            entries.c.transaction_serial == line.serial, entries.c.amount_micros > 0
        )
        return line._replace(drawn_micros=int(connection.execute(drawn).scalar_one()))
    at_ms = sa.select(transactions.c.at_ms).where(transactions.c.id == corrects)
    return line._replace(corrected_ms=connection.execute(at_ms).scalar())


def _cut(line: Line, started_ms: int | None, window: Window) -> Line | None:
    """What of a transaction is in the window; None when nothing is."""
    if line.kind == "draw":
        return line if window.from_ms < line.at_ms <= window.end_ms else None
    if line.kind != "usage" or started_ms is None or line.from_ms is None:
        inside = window.from_ms <= line.at_ms and (window.to_ms is None or line.at_ms < window.to_ms)
        return line if inside else None
    from_ms, to_ms = max(line.from_ms, window.from_ms), min(line.at_ms, window.end_ms)
    if from_ms >= to_ms:
        return None
    if from_ms == line.from_ms and to_ms == line.at_ms:
        return line
    amount = -charge_micros(Accrual(line.rate_micros_per_hour or 0, started_ms), from_ms, to_ms)
    return line._replace(amount_micros=amount, from_ms=from_ms, to_ms=to_ms)
