"""One database, one writer: engine, migrations, and transactions that run on a thread of their own.

SQLite (WAL, synchronous=FULL) is the embedded default, PostgreSQL the production database; both are reached
through SQLAlchemy Core and run the same statements.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

T = TypeVar("T")
BUSY_TIMEOUT_MS = 30_000


def open_engine(url: str) -> sa.Engine:
    """An engine for a database URL such as ``sqlite:///vessl.sqlite`` or ``postgresql://…``."""
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_sqlite_pragmas)
        sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def _set_sqlite_pragmas(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    connection.isolation_level = None  # type: ignore[attr-defined]  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    # taking the write lock first means that a transaction which has read never fails to write
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def migrate(engine: sa.Engine) -> None:
    """Bring the database's tables to the newest version; does nothing when they are."""
    config = Config()
    config.set_main_option("script_location", str(resources.files("jupyterhub_vessl.ledger") / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


class Database:
    """Runs functions of a connection, each in one transaction, one after the other.

    All work happens on a single thread: the service is the only writer, a transaction takes well under a
    millisecond of CPU, and the event loop never waits for a disk.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in a transaction: committed when it returns, rolled back when it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, work)

    def _transaction(self, work: Callable[[sa.Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)

    def free_bytes(self) -> int | None:
        """Space left where an SQLite file grows; None for other databases."""
        file = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not file or file == ":memory:":
            return None
        return shutil.disk_usage(Path(file).absolute().parent).free

    async def migrate(self) -> None:
        """Bring the tables to the newest version."""
        await asyncio.get_running_loop().run_in_executor(self._thread, migrate, self.engine)

    def close(self) -> None:
        """Wait for what runs and close every connection."""
        self._thread.shutdown(wait=True)
        self.engine.dispose()
