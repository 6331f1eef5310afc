"""The outbox: notices that wait to be sent, one row for each target, written with the event that they tell of."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from ..model.text import bounded
from .schema import outbox

log = logging.getLogger("jupyterhub_vessl")

WAITING_MAX = 1000
"""Undelivered notices of one organization; beyond that the oldest are dropped."""
KEEP_MS = 90 * 24 * 3_600_000
GIVE_UP_MS = 24 * 3_600_000
GIVE_UP_TRIES_MIN = 3
"""So many tries even of a notice that became old while the service was not running."""
TITLE_CHARACTERS_MAX, BODY_CHARACTERS_MAX = 200, 4000
DELIVERED, GAVE_UP, DROPPED = "delivered", "gave up", "dropped"

_ROW = sa.select(*(outbox.c[name] for name in ("id", "organization", "at_ms", "kind", "title", "body", "target")))


@dataclass(frozen=True)
class Notice:
    """A notice for one target.  ``attempts`` counts failed tries: its own, and its target's while it waited."""

    id: int
    organization: str
    at_ms: int
    kind: str
    title: str
    body: str
    target: str
    attempts: int


def enqueue(
    connection: sa.Connection,
    organization: str,
    at_ms: int,
    kind: str,
    title: str,
    body: str,
    targets: Iterable[str],
) -> int:
    """Record a notice for each target, in the transaction of what it tells; returns how many older ones are dropped.

    ``title`` becomes one line of at most 200 characters, ``body`` has at most 4,000.  Notices that were done with
    90 days before ``at_ms`` are removed.
    """
    row = {
        "organization": organization,
        "at_ms": at_ms,
        "kind": kind,
        "title": bounded(title, TITLE_CHARACTERS_MAX),
        "body": body if len(body) <= BODY_CHARACTERS_MAX else body[:BODY_CHARACTERS_MAX] + "…",
        "attempts": 0,
        "next_ms": at_ms,
        "outcome": "",
    }
    rows = [row | {"target": target} for target in dict.fromkeys(targets)]
    if not rows:
        return 0
    connection.execute(outbox.delete().where(outbox.c.done_ms < at_ms - KEEP_MS))
    connection.execute(outbox.insert(), rows)
    return _drop_beyond(connection, organization, at_ms)


def _drop_beyond(connection: sa.Connection, organization: str, now_ms: int) -> int:
    waits = (outbox.c.organization == organization, outbox.c.done_ms.is_(None))
    newest = sa.select(outbox.c.id).where(*waits).order_by(outbox.c.id.desc())
    last_dropped = connection.execute(newest.offset(WAITING_MAX).limit(1)).scalar()
    if last_dropped is None:
        return 0
    dropped = connection.execute(
        outbox.update()
        .where(*waits, outbox.c.id <= last_dropped)
        .values(done_ms=now_ms, outcome=f"{DROPPED}: too many notices wait")
    ).rowcount
    log.warning("dropped %s notices of %s: more than %s wait", dropped, bounded(organization), WAITING_MAX)
    return dropped


def due(connection: sa.Connection, now_ms: int, limit: int) -> tuple[Notice, ...]:
    """Notices to try now: the first of each organization's target, the one that waits longest first."""
    number = sa.func.row_number().over(
        partition_by=(outbox.c.organization, outbox.c.target), order_by=(outbox.c.next_ms, outbox.c.id)
    )
    queues = (
        _ROW.add_columns(outbox.c.attempts, outbox.c.next_ms, number.label("number"))
        .where(outbox.c.done_ms.is_(None), outbox.c.next_ms <= now_ms)
        .subquery()
    )
    query = sa.select(queues).where(queues.c.number == 1).order_by(queues.c.next_ms, queues.c.id).limit(limit)
    return tuple(Notice(*row[:-2]) for row in connection.execute(query))


def next_due_ms(connection: sa.Connection) -> int | None:
    """When the next notice is to be tried; None while nothing waits."""
    query = sa.select(outbox.c.next_ms).where(outbox.c.done_ms.is_(None)).order_by(outbox.c.next_ms).limit(1)
    value: int | None = connection.execute(query).scalar()
    return value


def mark(connection: sa.Connection, notice_id: int, done_ms: int, outcome: str) -> None:
    """A notice is done with: delivered, or given up."""
    connection.execute(outbox.update().where(outbox.c.id == notice_id).values(done_ms=done_ms, outcome=outcome))


def mark_failed(connection: sa.Connection, notice: Notice, now_ms: int, next_ms: int, reason: str) -> int:
    """A try failed: its target rests until ``next_ms``; returns how many notices are given up for good.

    The other notices for the target wait as long, so that a dead server is asked once, and go first the next time,
    so that one notice that a server refuses holds up no other.  What is 24 hours old by now is given up.
    """
    attempts = notice.attempts + 1
    waits = (
        outbox.c.organization == notice.organization,
        outbox.c.target == notice.target,
        outbox.c.done_ms.is_(None),
    )
    counted = sa.case((outbox.c.attempts < attempts, attempts), else_=outbox.c.attempts)
    others = outbox.update().where(*waits, outbox.c.next_ms <= next_ms)
    connection.execute(others.values(attempts=counted, next_ms=next_ms))
    connection.execute(outbox.update().where(*waits, outbox.c.id == notice.id).values(next_ms=next_ms + 1))
    old = (outbox.c.at_ms <= now_ms - GIVE_UP_MS, outbox.c.attempts >= GIVE_UP_TRIES_MIN)
    given_up = outbox.update().where(*waits, *old).values(done_ms=now_ms, outcome=f"{GAVE_UP}: {reason}")
    return connection.execute(given_up).rowcount
