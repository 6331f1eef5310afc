"""Usage spans: what is being used since when and at which rate, and what of it has been booked.

There are no ticks (DESIGN §5).  An open span costs nothing to keep; its accrual is computed when somebody
asks, and booked when it ends, when a day closes, or when a price changes.  What it cost until ``settled_ms``
is booked already, so booking often or rarely gives the same total.  What is booked never crosses a UTC midnight,
so that statements of days and months are sums of bookings.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import sqlalchemy as sa

from ..model.money import Accrual, cumulative_micros
from ..model.usage import COMPUTE, STORAGE, UsageClass, midnights, units_between
from .funding import advance, take_back
from .meters import Change, give_back_after, move_meters, scopes_of
from .postings import CREDITS, USAGE, Posting, Transaction, UsageRow, post_many, post_usage
from .prepared import Prepared
from .schema import spans

__all__ = ["COMPUTE", "STORAGE", "Span", "close_spans", "open_span", "open_spans", "settle", "spans_of_workspaces"]

_INSERT = Prepared(spans.insert().values({c.name: sa.bindparam(c.name) for c in spans.c}))
ALL = 2**62
_UNSETTLED_OF = (
    spans.c.ended_ms.is_(None),
    spans.c.organization == sa.bindparam("of"),
    spans.c.settled_ms < sa.bindparam("to"),
)
_TAKEN = ("id", "team", "person", "workspace_id", "rate_micros_per_hour", "started_ms", "settled_ms", "item")
_UNSETTLED = Prepared(
    sa.select(*(spans.c[name] for name in _TAKEN))
    .where(*_UNSETTLED_OF)
    .order_by(spans.c.id)
    .limit(sa.bindparam("most", type_=sa.BigInteger))
)
_SETTLED = Prepared(
    spans.update().where(*_UNSETTLED_OF, spans.c.id <= sa.bindparam("last")).values(settled_ms=sa.bindparam("to"))
)
_ENDED = Prepared(
    spans.update()
    .where(spans.c.id == sa.bindparam("of"))
    .values(settled_ms=sa.bindparam("at"), ended_ms=sa.bindparam("at"), end_reason=sa.bindparam("why"))
)
_OPEN_OF_ADMISSION = Prepared(
    sa.select(spans).where(
        spans.c.admission_id == sa.bindparam("of"),
        spans.c.kind == sa.bindparam("what"),
        spans.c.ended_ms.is_(None),
    )
)


class Span(NamedTuple):
    """Something that is billed from ``started_ms`` on, until ``ended_ms`` (None while it is open).

    ``item`` is the resource spec of compute; of storage it is ``workspace``, or ``cluster/datasets``.
    """

    id: str
    organization: str
    team: str
    person: str
    workspace_id: str
    admission_id: str
    kind: str
    rate_micros_per_hour: int
    started_ms: int
    ended_ms: int | None
    end_reason: str
    settled_ms: int
    item: str
    gpus: int
    size_bytes: int

    @property
    def accrual(self) -> Accrual:
        """What it costs, from its own start."""
        return Accrual(self.rate_micros_per_hour, self.started_ms)

    @property
    def settled_micros(self) -> int:
        """What of it is booked."""
        return cumulative_micros(self.accrual, self.settled_ms)

    @property
    def usage(self) -> UsageClass:
        """What it is, for the grants that may pay for it."""
        return UsageClass(self.kind, self.item, self.gpus > 0)

    @property
    def scopes(self) -> tuple[str, ...]:
        """Every meter that it moves."""
        return scopes_of(self.organization, self.team, self.person, self.usage)

    def cost_micros(self, at_ms: int) -> int:
        """All that it has cost until ``at_ms`` or its end."""
        return cumulative_micros(self.accrual, at_ms if self.ended_ms is None else self.ended_ms)


def _spans(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool], limit: int | None = None
) -> tuple[Span, ...]:
    query = sa.select(spans).where(*conditions).order_by(spans.c.started_ms, spans.c.id)
    return tuple(Span(*row) for row in connection.execute(query if limit is None else query.limit(limit)))


def open_span(
    connection: sa.Connection,
    *,
    organization: str,
    team: str,
    person: str,
    workspace_id: str,
    admission_id: str,
    kind: str,
    rate_micros_per_hour: int,
    started_ms: int,
    item: str,
    gpus: int = 0,
    size_bytes: int = 0,
) -> str:
    """Start billing something at ``started_ms``, which is now; returns the span's id."""
    advance(connection, organization, started_ms)
    span = Span(
        id=uuid.uuid4().hex,
        organization=organization,
        team=team,
        person=person,
        workspace_id=workspace_id,
        admission_id=admission_id,
        kind=kind,
        rate_micros_per_hour=rate_micros_per_hour,
        started_ms=started_ms,
        ended_ms=None,
        end_reason="",
        settled_ms=started_ms,
        item=item,
        gpus=gpus,
        size_bytes=size_bytes,
    )
    _INSERT.run(connection, span._asdict())
    opened = Change(spans=1, rate_micros_per_hour=rate_micros_per_hour, origin_units=-rate_micros_per_hour * started_ms)
    move_meters(connection, span.scopes, opened, started_ms)
    return span.id


def open_again(
    connection: sa.Connection, span: Span, started_ms: int, *, rate_micros_per_hour: int | None = None
) -> str:
    """Go on billing what a span that was just ended billed, from ``started_ms`` on, perhaps at another rate."""
    return open_span(
        connection,
        organization=span.organization,
        team=span.team,
        person=span.person,
        workspace_id=span.workspace_id,
        admission_id=span.admission_id,
        kind=span.kind,
        rate_micros_per_hour=span.rate_micros_per_hour if rate_micros_per_hour is None else rate_micros_per_hour,
        started_ms=started_ms,
        item=span.item,
        gpus=span.gpus,
        size_bytes=span.size_bytes,
    )


def open_spans(
    connection: sa.Connection,
    organization: str | None = None,
    kind: str | None = None,
    *more: sa.ColumnElement[bool],
    limit: int | None = None,
) -> tuple[Span, ...]:
    """Spans that are being billed, of one organization or of all, of one kind or of both, the oldest first.

    ``more`` are further conditions on `schema.spans`.
    """
    conditions: list[sa.ColumnElement[bool]] = [spans.c.ended_ms.is_(None), *more]
    if organization is not None:
        conditions.append(spans.c.organization == organization)
    if kind is not None:
        conditions.append(spans.c.kind == kind)
    return _spans(connection, *conditions, limit=limit)


def spans_of_workspaces(connection: sa.Connection, workspace_ids: list[str]) -> tuple[Span, ...]:
    """All spans, open and closed, of some workspaces."""
    return _spans(connection, spans.c.workspace_id.in_(workspace_ids))


def pieces(span: Span, to_ms: int, now_ms: int, actor: str, reason: str) -> list[Posting]:
    """What is to be booked of a span until ``to_ms``: one transaction for each UTC day, or one that takes back
    what was booked beyond ``to_ms``."""
    if to_ms < span.settled_ms:
        return _taken_back(span, to_ms, now_ms, actor)
    found: list[Posting] = []
    from_ms, booked = span.settled_ms, span.settled_micros
    for at_ms in (*midnights(span.settled_ms, to_ms), to_ms):
        total = cumulative_micros(span.accrual, at_ms)
        if total != booked:
            found.append(_usage(span, total - booked, from_ms, at_ms, now_ms, actor, reason))
        from_ms, booked = at_ms, total
    return found


def _usage(
    span: Span, amount: int, from_ms: int, to_ms: int, now_ms: int, actor: str, reason: str, kind: str = "usage"
) -> Posting:
    transaction = Transaction(
        organization=span.organization,
        kind=kind,
        at_ms=to_ms if kind == "usage" else now_ms,
        recorded_ms=now_ms,
        actor=actor,
        reason=reason,
        source="span",
        team=span.team,
        person=span.person,
        workspace_id=span.workspace_id,
        span_id=span.id,
        from_ms=from_ms,
        to_ms=to_ms,
        rate_micros_per_hour=span.rate_micros_per_hour,
        item=span.item,
    )
    return transaction, {CREDITS: -amount, USAGE: amount}


def _taken_back(span: Span, to_ms: int, now_ms: int, actor: str) -> list[Posting]:
    amount = cumulative_micros(span.accrual, to_ms) - span.settled_micros
    if not amount:
        return []
    reason = "it had ended before what was booked"
    return [_usage(span, amount, to_ms, span.settled_ms, now_ms, actor, reason, "correction")]


def settle(connection: sa.Connection, organization: str, at_ms: int, now_ms: int, limit: int | None = None) -> int:
    """Book what an organization's open spans have accrued until ``at_ms``; returns how many moved.

    Changes no balance at any instant, only how much of it is booked.  With ``limit`` at most so many spans in
    one go, so that a large organization is booked in several short transactions.
    """
    wanted = {"of": organization, "to": at_ms, "most": ALL if limit is None else limit}
    moved = _UNSETTLED.run(connection, wanted).all()
    if not moved:
        return 0
    # plain tuples and no calls that can be saved: this is done for every span at every midnight
    used: list[UsageRow] = []
    booked = 0
    for span_id, team, person, workspace_id, rate, started_ms, settled_ms, item in moved:
        accrual = Accrual(rate, started_ms)
        from_ms, before = settled_ms, cumulative_micros(accrual, settled_ms)
        for to_ms in (*midnights(settled_ms, at_ms), at_ms):
            total = cumulative_micros(accrual, to_ms)
            if total != before:
                amount = total - before
                used.append((amount, team, person, workspace_id, span_id, from_ms, to_ms, rate, item))
                booked += amount
            from_ms, before = to_ms, total
    post_usage(connection, organization, used, now_ms=now_ms, actor="service", reason="settled")
    _SETTLED.run(connection, {"of": organization, "to": at_ms, "last": moved[-1][0]})
    if booked:
        move_meters(connection, (organization,), Change(open_settled_micros=booked), now_ms)
    return len(moved)


def close_spans(
    connection: sa.Connection, admission_id: str, kind: str, *, at_ms: int, now_ms: int, actor: str, reason: str
) -> None:
    """Stop billing and book the rest.  A span that is closed already is left as it is.

    Where more was booked than there was until ``at_ms`` the difference is given back by a new transaction.
    """
    rows = _OPEN_OF_ADMISSION.run(connection, {"of": admission_id, "what": kind}).all()
    end_spans(connection, [Span(*row) for row in rows], at_ms=at_ms, now_ms=now_ms, actor=actor, reason=reason)


def end_spans(
    connection: sa.Connection, ending: Sequence[Span], *, at_ms: int, now_ms: int, actor: str, reason: str
) -> None:
    """End open spans at ``at_ms``, which may be earlier than now but not before they began."""
    for span in ending:
        advance(connection, span.organization, now_ms)
        end_ms = max(at_ms, span.started_ms)
        post_many(connection, pieces(span, end_ms, now_ms, actor, reason))
        _ENDED.run(connection, {"of": span.id, "at": end_ms, "why": reason})
        rate = span.rate_micros_per_hour
        closed = Change(
            spans=-1,
            rate_micros_per_hour=-rate,
            origin_units=rate * span.started_ms,
            closed_units=units_between(rate, span.started_ms, end_ms),
        )
        organization, *others = span.scopes
        move_meters(connection, (organization,), replace(closed, open_settled_micros=-span.settled_micros), now_ms)
        move_meters(connection, others, closed, now_ms)
        give_back_after(connection, span.scopes, rate, end_ms, now_ms)
        take_back(connection, span.organization, span.usage, rate, end_ms)
