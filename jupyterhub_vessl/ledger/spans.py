"""Usage spans: what is being used since when and at which rate, and what of it has been booked.

There are no ticks (DESIGN §5).  An open span costs nothing to keep; its accrual is computed when somebody
asks, and booked when it ends.  ``settled_micros`` is the part already booked, so booking often or rarely
gives the same total.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from ..model.lifecycle import CreditSnapshot, RunningWorkspace
from ..model.money import Accrual, cumulative_micros
from .postings import CREDITS, USAGE, Transaction, post, settled_micros
from .schema import spans

COMPUTE, STORAGE = "compute", "storage"


@dataclass(frozen=True)
class Span:
    """Something that is billed from ``started_ms`` on, until ``ended_ms`` (None while it is open)."""

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
    settled_micros: int

    @property
    def accrual(self) -> Accrual:
        """What it costs, from its own start."""
        return Accrual(self.rate_micros_per_hour, self.started_ms)

    def cost_micros(self, at_ms: int) -> int:
        """All that it has cost until ``at_ms`` or its end."""
        return cumulative_micros(self.accrual, at_ms if self.ended_ms is None else self.ended_ms)


def _spans(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> tuple[Span, ...]:
    rows = connection.execute(sa.select(spans).where(*conditions).order_by(spans.c.started_ms, spans.c.id))
    return tuple(Span(*row) for row in rows)


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
) -> None:
    """Start billing something."""
    connection.execute(
        spans.insert().values(
            id=uuid.uuid4().hex,
            organization=organization,
            team=team,
            person=person,
            workspace_id=workspace_id,
            admission_id=admission_id,
            kind=kind,
            rate_micros_per_hour=rate_micros_per_hour,
            started_ms=started_ms,
            end_reason="",
            settled_ms=started_ms,
            settled_micros=0,
        )
    )


def open_spans(connection: sa.Connection, organization: str | None = None) -> tuple[Span, ...]:
    """Spans that are being billed, of one organization or of all."""
    conditions: list[sa.ColumnElement[bool]] = [spans.c.ended_ms.is_(None)]
    if organization is not None:
        conditions.append(spans.c.organization == organization)
    return _spans(connection, *conditions)


def spans_of_workspaces(connection: sa.Connection, workspace_ids: list[str]) -> tuple[Span, ...]:
    """All spans, open and closed, of some workspaces."""
    return _spans(connection, spans.c.workspace_id.in_(workspace_ids))


def _settle(connection: sa.Connection, span: Span, to_ms: int, now_ms: int, actor: str, reason: str) -> None:
    total = cumulative_micros(span.accrual, to_ms)
    amount = total - span.settled_micros
    if amount:
        transaction = Transaction(
            organization=span.organization,
            kind="usage",
            at_ms=to_ms,
            recorded_ms=now_ms,
            actor=actor,
            reason=reason,
            source="span",
            team=span.team,
            person=span.person,
            workspace_id=span.workspace_id,
            span_id=span.id,
            from_ms=span.settled_ms,
            to_ms=to_ms,
            rate_micros_per_hour=span.rate_micros_per_hour,
        )
        post(connection, transaction, {CREDITS: -amount, USAGE: amount})
    connection.execute(spans.update().where(spans.c.id == span.id).values(settled_ms=to_ms, settled_micros=total))


def settle(connection: sa.Connection, organization: str, at_ms: int, now_ms: int) -> int:
    """Book what an organization's open spans have accrued until ``at_ms``; returns how many moved.

    Changes no balance at any instant, only how much of it is booked.
    """
    moved = [span for span in open_spans(connection, organization) if at_ms > span.settled_ms]
    for span in moved:
        _settle(connection, span, at_ms, now_ms, "service", "settled")
    return len(moved)


def close_spans(
    connection: sa.Connection, admission_id: str, kind: str, *, at_ms: int, now_ms: int, actor: str, reason: str
) -> None:
    """Stop billing and book the rest.  A span that is closed already is left as it is.

    ``at_ms`` before what has been booked already does not give anything back here; it ends the span there.
    """
    for span in _spans(
        connection,
        spans.c.admission_id == admission_id,
        spans.c.kind == kind,
        spans.c.ended_ms.is_(None),
    ):
        end_ms = max(at_ms, span.settled_ms)
        _settle(connection, span, end_ms, now_ms, actor, reason)
        connection.execute(spans.update().where(spans.c.id == span.id).values(ended_ms=end_ms, end_reason=reason))


def credit_snapshot(connection: sa.Connection, organization: str, currency: str) -> CreditSnapshot:
    """An organization's money as the pure decisions of `model.lifecycle` take it."""
    running = open_spans(connection, organization)
    return CreditSnapshot(
        currency=currency,
        base_micros=settled_micros(connection, organization) + sum(span.settled_micros for span in running),
        accruals=tuple(span.accrual for span in running),
        running=tuple(
            RunningWorkspace(span.workspace_id, span.rate_micros_per_hour) for span in running if span.kind == COMPUTE
        ),
    )
