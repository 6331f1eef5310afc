"""Our settling of many spans, and the very rows that it writes, for the driver alone to write."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from limits import Batch, RawSettle
from world import NOON_MS, ORGANIZATION, fill, filled_database, new_database

from jupyterhub_vessl.ledger.database import open_engine
from jupyterhub_vessl.ledger.spans import settle

INSERTED = ("transactions", "entries")
CHANGED = {"spans": ("id", "settled_ms"), "balances": ("organization", "settled_micros")}
METER = ("scope", "open_settled_micros", "changed_ms")


@dataclass(frozen=True)
class Settling:
    """``seconds`` is from calling the ledger until all is committed, each time on a fresh copy of a database
    with open spans and an empty write-ahead log.  ``inserts`` are the transactions and entries that one writes,
    ``all_rows`` also the spans, the balance and the meter that it updates."""

    seconds: Callable[[], float]
    inserts: RawSettle
    all_rows: RawSettle


def _settle(url: str, spans: int) -> float:
    engine = open_engine(url)
    with engine.connect():
        pass  # the connection is open already when the service settles
    started = time.perf_counter()
    with engine.begin() as connection:
        moved = settle(connection, ORGANIZATION, NOON_MS, NOON_MS)
    taken = time.perf_counter() - started
    engine.dispose()
    if moved != spans:
        raise RuntimeError(f"{moved} of {spans} spans were settled.")
    return taken


@contextmanager
def settling(folder: Path, database: str | None, spans: int) -> Iterator[Settling]:
    """A database of so many open spans to settle, and what doing so writes."""
    with filled_database(folder, database, lambda connection: fill(connection, spans)) as template:

        def seconds() -> float:
            with new_database(folder, database, template) as url:
                return _settle(url, spans)

        # the limit is SQLite's alone, so the rows are taken from a settlement there
        with filled_database(folder, None, lambda connection: fill(connection, spans)) as before:
            inserts, all_rows = _captured(folder, before, spans)
        yield Settling(seconds, inserts, all_rows)


def _captured(folder: Path, template: str, spans: int) -> tuple[RawSettle, RawSettle]:
    tables = (*INSERTED, *CHANGED, "meters")
    with new_database(folder, None, template) as url:
        with closing(sqlite3.connect(str(sa.make_url(url).database))) as plain:
            ddl = [
                sql for (sql,) in plain.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
            ]
            before = [_insert(table, _all(plain, table)) for table in tables]
            last = plain.execute("SELECT max(serial) FROM transactions").fetchone()[0]
        _settle(url, spans)
        with closing(sqlite3.connect(str(sa.make_url(url).database))) as plain:
            batches = [
                _insert("transactions", _all(plain, "transactions", f"WHERE serial > {last}")),
                _insert("entries", _all(plain, "entries", f"WHERE transaction_serial > {last}")),
            ]
            updates = [_update(plain, table, *columns) for table, columns in CHANGED.items()]
            updates.append(_update(plain, "meters", *METER, where=f"WHERE scope = '{ORGANIZATION}'"))
    return RawSettle(ddl, before, batches), RawSettle(ddl, before, [*batches, *updates])


def _all(plain: sqlite3.Connection, table: str, where: str = "") -> Sequence[Sequence[object]]:
    return plain.execute(f"SELECT * FROM {table} {where}").fetchall()  # noqa: S608  names of our own


def _insert(table: str, rows: Sequence[Sequence[object]]) -> Batch:
    places = ", ".join("?" * len(rows[0]))
    return Batch(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608


def _update(plain: sqlite3.Connection, table: str, key: str, *columns: str, where: str = "") -> Batch:
    rows = plain.execute(f"SELECT {', '.join(columns)}, {key} FROM {table} {where}").fetchall()  # noqa: S608
    changes = ", ".join(f"{column} = ?" for column in columns)
    return Batch(f"UPDATE {table} SET {changes} WHERE {key} = ?", rows)  # noqa: S608
