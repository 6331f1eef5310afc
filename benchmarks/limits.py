"""Physical limits: what the disk and the database do with the same bytes and rows when nobody keeps books.

Nothing here knows the ledger.  Statements, rows and connections come in as parameters, so that a limit is taken
on exactly what the ledger writes.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE_BYTES = 4096


def fdatasync_rate(folder: Path, seconds: float) -> float:
    """Durable appends of one page per second, one after the other, to a new file in ``folder``.

    Every durable commit has to wait for at least one of these.
    """
    page = os.urandom(PAGE_BYTES)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="fdatasync-") as file:
        descriptor = file.fileno()
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            os.pwrite(descriptor, page, count * PAGE_BYTES)
            os.fdatasync(descriptor)
            count += 1
    return count / elapsed


@dataclass(frozen=True)
class Batch:
    """A statement and all of its rows, for one ``executemany``."""

    statement: str
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class RawSettle:
    """What a settlement leaves in the database, as bare SQL.

    ``ddl`` makes the tables, indexes and triggers, ``before`` fills what is there when settling begins (not
    measured), ``batches`` are the rows that settling writes, in one transaction (measured).
    """

    ddl: Sequence[str]
    before: Sequence[Batch]
    batches: Sequence[Batch]


@contextmanager
def fresh_sqlite(folder: Path) -> Iterator[sqlite3.Connection]:
    """A new SQLite database in ``folder`` that is as durable as the ledger's: WAL, synchronous=FULL."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="limit-") as place:
        connection = sqlite3.connect(Path(place) / "limit.sqlite", isolation_level=None)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")
            yield connection
        finally:
            connection.close()


def _write(connection: sqlite3.Connection, batches: Sequence[Batch]) -> float:
    started = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    for batch in batches:
        connection.executemany(batch.statement, batch.rows)
    connection.execute("COMMIT")
    return time.perf_counter() - started


def raw_settle_seconds(folder: Path, raw: RawSettle) -> float:
    """Wall seconds until the rows of a settlement are durable, written by the driver alone."""
    with fresh_sqlite(folder) as connection:
        for statement in raw.ddl:
            connection.execute(statement)
        _write(connection, raw.before)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return _write(connection, raw.batches)


def query_seconds(connection: Any, sql: str) -> float:
    """Wall seconds to run a query and fetch all of its rows; any DBAPI connection with ``execute``."""
    started = time.perf_counter()
    connection.execute(sql).fetchall()
    return time.perf_counter() - started


# -- the plainest double entry, for runs that leave our ledger out -----------------

ACCOUNTS = 50
PLAIN_DDL = (
    "CREATE TABLE transactions (serial INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at_ms INTEGER NOT NULL,"
    " reason TEXT NOT NULL)",
    "CREATE TABLE entries (serial INTEGER PRIMARY KEY, transaction_serial INTEGER NOT NULL"
    " REFERENCES transactions(serial), account TEXT NOT NULL, amount_micros INTEGER NOT NULL)",
    # covering, so that summing by account is one scan of the index: the least that such a query can cost
    "CREATE INDEX ix_entries_account ON entries (account, amount_micros)",
    "CREATE TABLE spans (id TEXT PRIMARY KEY, settled_ms INTEGER NOT NULL, settled_micros INTEGER NOT NULL)",
)
GROUP_BY = "SELECT account, SUM(amount_micros) FROM entries GROUP BY account"
"""The plainest query that sums entries by account; it reads the covering index where there is one."""
GROUP_BY_TABLE = "SELECT account, SUM(amount_micros) FROM entries GROUP BY +account"
_ADD_TRANSACTION = "INSERT INTO transactions VALUES (?, ?, ?, ?)"
_ADD_ENTRY = "INSERT INTO entries (transaction_serial, account, amount_micros) VALUES (?, ?, ?)"


def plain_settle(spans: int) -> RawSettle:
    """A settlement as any double-entry ledger would write it: a transaction, two entries and a mark per span."""
    transactions = [(serial, f"transaction-{serial:030}", 60_000, "settled") for serial in range(1, spans + 1)]
    entries = [
        (serial, f"organization-{serial % ACCOUNTS}/{name}", sign * 39_833)
        for serial in range(1, spans + 1)
        for name, sign in (("credits", -1), ("usage", 1))
    ]
    ids = [f"span-{serial:036}" for serial in range(1, spans + 1)]
    return RawSettle(
        ddl=PLAIN_DDL,
        before=[Batch("INSERT INTO spans VALUES (?, 0, 0)", [(span_id,) for span_id in ids])],
        batches=[
            Batch(_ADD_TRANSACTION, transactions),
            Batch(_ADD_ENTRY, entries),
            Batch("UPDATE spans SET settled_ms = 60000, settled_micros = ? WHERE id = ?", [(39_833, i) for i in ids]),
        ],
    )


@contextmanager
def plain_entries(folder: Path, entries: int) -> Iterator[sqlite3.Connection]:
    """A database with that many entries of the plain shape, for `query_seconds` with `GROUP_BY`."""
    raw = plain_settle(entries // 2)
    with fresh_sqlite(folder) as connection:
        for statement in raw.ddl:
            connection.execute(statement)
        _write(connection, raw.batches[:2])
        yield connection
