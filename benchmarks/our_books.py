"""Our side of single charges and of the audit: the ledger alone, without a service around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from world import NOON_MS, ORGANIZATION, filled_database, person_name, team_of, top_up

from jupyterhub_vessl.ledger.audit import audit
from jupyterhub_vessl.ledger.database import open_engine
from jupyterhub_vessl.ledger.postings import CREDITS, USAGE, Transaction, post, post_many
from jupyterhub_vessl.ledger.spans import open_span, settle

MINUTE_MS = 60_000


@dataclass(frozen=True)
class Charges:
    """Single charges, each committed durably on its own, per second; both take wall seconds.

    ``settled``: the ledger settles the one open span of an organization: reads it, rates it, writes transaction,
    entries, balance, span and meter.  ``posted``: one usage transaction with its entries and balance.
    """

    settled: Callable[[float], float]
    posted: Callable[[float], float]


@contextmanager
def durable_charges(folder: Path, database: str | None) -> Iterator[Charges]:
    """Single charges; the database lies in ``folder``, where the limit, `limits.fdatasync_rate`, is taken too."""
    with filled_database(folder, database, _one_span) as url:
        engine = open_engine(url)
        at_ms = NOON_MS

        def settled(connection: sa.Connection, at_ms: int) -> None:
            if settle(connection, ORGANIZATION, at_ms, at_ms) != 1:
                raise RuntimeError("Nothing was charged.")

        def posted(connection: sa.Connection, at_ms: int) -> None:
            span = {"from_ms": at_ms - MINUTE_MS, "to_ms": at_ms, "rate_micros_per_hour": 2_390_000, "item": "h100-1"}
            whose = {"team": "team-00", "person": "mia", "workspace_id": "w" * 32, "span_id": "s" * 32}
            booked = Transaction(ORGANIZATION, "usage", at_ms, at_ms, "service", "settled", "span", **whose, **span)  # type: ignore[arg-type]
            post(connection, booked, {CREDITS: -39_833, USAGE: 39_833})

        def rate(charge: Callable[[sa.Connection, int], None], seconds: float) -> float:
            nonlocal at_ms
            count, started = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - started) < seconds:
                at_ms += 1000
                with engine.begin() as connection:
                    charge(connection, at_ms)
                count += 1
            return count / elapsed

        yield Charges(lambda seconds: rate(settled, seconds), lambda seconds: rate(posted, seconds))
        engine.dispose()


def _one_span(connection: sa.Connection) -> None:
    top_up(connection, 1000, NOON_MS)
    open_span(
        connection,
        organization=ORGANIZATION,
        team="team-00",
        person="mia",
        workspace_id="w" * 32,
        admission_id="a" * 32,
        kind="compute",
        rate_micros_per_hour=2_390_000,
        started_ms=NOON_MS,
        item="h100-1",
        gpus=1,
    )


@contextmanager
def audited_books(folder: Path, database: str | None, entries: int) -> Iterator[AuditedBooks]:
    """A ledger with that many entries, in the proportions of ordinary usage (see `AuditedBooks`)."""
    with filled_database(folder, database, lambda connection: _book_usage(connection, entries)) as url:
        engine = open_engine(url)

        def audit_seconds() -> float:
            with engine.begin() as connection:
                started = time.perf_counter()
                report = audit(connection)
                taken = time.perf_counter() - started
            if not report.ok or 2 * report.transactions != entries:
                raise RuntimeError(report.headline())
            return taken

        reader = open_engine(url)
        raw = reader.raw_connection()
        yield AuditedBooks(audit_seconds, raw.driver_connection)
        raw.close()
        reader.dispose()
        engine.dispose()


@dataclass(frozen=True)
class AuditedBooks:
    """One ledger with many entries, for two readers of the same rows.

    ``audit_seconds`` runs the real audit (every balance rebuilt from entries and compared, every transaction
    summed to zero) and returns wall seconds; it raises when the audit finds anything.  ``connection`` is a bare
    DBAPI connection (with ``execute``) to the same database.
    """

    audit_seconds: Callable[[], float]
    connection: Any


def _book_usage(connection: sa.Connection, entries: int) -> None:
    organizations = [f"organization-{number:02}" for number in range(20)]
    left = entries // 2
    for organization in organizations:
        top_up(connection, 10_000_000, NOON_MS, organization)
        left -= 1
    for begin in range(0, left, 5_000):
        organization = organizations[begin // 5_000 % len(organizations)]
        postings = []
        for number in range(begin, min(begin + 5_000, left)):
            whose = {"team": team_of(number), "person": person_name(number % 5_000)}
            ids = {"workspace_id": f"{number % 20_000:032x}", "span_id": f"{number % 100_000:032x}"}
            span = {"from_ms": NOON_MS, "to_ms": NOON_MS + MINUTE_MS, "rate_micros_per_hour": 2_390_000}
            booked = Transaction(
                organization,
                "usage",
                NOON_MS + number,
                NOON_MS + number,
                "service",
                "settled",
                "span",
                **whose,
                **ids,
                **span,
                item="h100-1",  # type: ignore[arg-type]
            )
            postings.append((booked, {CREDITS: -39_833 - number % 100, USAGE: 39_833 + number % 100}))
        post_many(connection, postings)
