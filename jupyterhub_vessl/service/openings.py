"""What the service does with the books when it starts, before anything else: meters, opening credits, and what
the offer says now about storage and prices."""

from __future__ import annotations

import sqlalchemy as sa

from ..ledger.audit import ensure_meters
from ..ledger.events import Event, record_event
from ..ledger.postings import CREDITS, OPENING, Transaction, post, remember, remembered
from ..ledger.spans import end_spans, open_again, open_spans
from ..model.catalog import Offer
from ..model.units import format_duration
from .core import log
from .declared import follow_declared
from .sightings import Gap
from .storage import follow_registry


def open_books(connection: sa.Connection, offer: Offer, now_ms: int, gap: Gap | None = None) -> None:
    """Bring the books in line with the offer, in one transaction; time in ``gap`` is not billed."""
    ensure_meters(connection, now_ms)
    if gap is not None:
        skip(connection, gap)
    record_openings(connection, offer, now_ms)
    follow_declared(connection, offer, now_ms)
    changed = follow_registry(connection, offer, now_ms)
    if changed:
        log.info("%s spans began, ended or have another price, because the offer changed", changed)


def skip(connection: sa.Connection, gap: Gap) -> None:
    """End every open span where a gap in time begins, and open it again where it ends."""
    opened = open_spans(connection)
    if not opened:
        return
    log.warning("the clock went from %s to %s while the service was down; that is not billed", gap.from_ms, gap.to_ms)
    for span in opened:
        from_ms = max(gap.from_ms, span.started_ms)
        end_spans(connection, [span], at_ms=from_ms, now_ms=gap.to_ms, actor="service", reason="clock")
        open_again(connection, span, gap.to_ms)
    passed = format_duration((gap.to_ms - gap.from_ms) // 1000)
    message = f"The clock went on by {passed} while the service was down; nothing is charged for that time."
    for organization in sorted({span.organization for span in opened}):
        record_event(connection, Event(gap.to_ms, "clock", message, "service", organization))


def record_openings(connection: sa.Connection, offer: Offer, now_ms: int) -> None:
    """Give each organization the credits that the offer says it starts with, once for all time."""
    for name, organization in offer.organizations.items():
        key = f"opening:{name}"
        amount = organization.credits.opening_micros
        if not amount or _is_recorded(connection, key):
            continue
        transaction = Transaction(
            organization=name,
            kind="opening",
            at_ms=now_ms,
            recorded_ms=now_ms,
            actor="service",
            reason="Opening credits",
            source="offer",
        )
        post(connection, transaction, {CREDITS: amount, OPENING: -amount})
        remember(connection, key, {}, {"amount_micros": amount}, now_ms)
        event = Event(now_ms, "opening", "Opening credits were recorded.", "service", name)
        record_event(connection, event)


def _is_recorded(connection: sa.Connection, key: str) -> bool:
    return remembered(connection, key, {}) is not None
