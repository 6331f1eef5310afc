"""One database, one writer: engine, migrations, and transactions that run on a thread of their own.

SQLite (WAL, synchronous=FULL) is the embedded default, PostgreSQL the production database; both are reached
through SQLAlchemy Core and run the same statements.  Who may write is in `lease`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from ..model.text import bounded
from .lease import DatabaseUnusable, LeaseHeld, LeaseLost, add_lease, sqlite_file

log = logging.getLogger("jupyterhub_vessl")
T = TypeVar("T")
BUSY_TIMEOUT_MS = 30_000
POLL_SECONDS = 0.5
"""How often a standby asks for the lease."""
WATCH_SECONDS = 1
"""How often the writer looks whether its connection, and with it the lease, is still there."""

_POSTGRESQL_DRIVER = "postgresql+psycopg"
# a vanished peer is noticed within 4 + 3 * 1 seconds, by whichever side remains
_POSTGRESQL_CLIENT: dict[str, str | int] = {
    "application_name": "jupyterhub-vessl",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 4,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 7_000,
    "target_session_attrs": "read-write",
}
_POSTGRESQL_SERVER: dict[str, int] = {
    "tcp_keepalives_idle": 4,
    "tcp_keepalives_interval": 1,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 7_000,
    "lock_timeout": BUSY_TIMEOUT_MS,
    "statement_timeout": 2 * BUSY_TIMEOUT_MS,
    # a process that stands still within a transaction must not keep the lease for ever
    "idle_in_transaction_session_timeout": 2 * BUSY_TIMEOUT_MS,
}


def open_engine(url: str) -> sa.Engine:
    """An engine for a database URL such as ``sqlite:///vessl.sqlite`` or ``postgresql://…``; it takes no lease.

    Raises `DatabaseUnusable` for another kind of database, or when PostgreSQL's driver is missing.
    """
    parsed = sa.make_url(url)
    kind = parsed.drivername
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(parsed)
        sa.event.listen(engine, "connect", _set_sqlite_pragmas)
        sa.event.listen(engine, "begin", _begin_immediate)
        return engine
    if kind in ("postgres", "postgresql", _POSTGRESQL_DRIVER):
        return _open_postgresql(parsed.set(drivername=_POSTGRESQL_DRIVER))
    raise DatabaseUnusable(f"A database {bounded(kind, 40)}:// is not supported; use sqlite:///FILE or postgresql://…")


def _open_postgresql(url: sa.URL) -> sa.Engine:
    # what the URL says itself counts more
    options = " ".join(f"-c {name}={value}" for name, value in _POSTGRESQL_SERVER.items())
    own = url.query.get("options", "")
    options = " ".join((options, *([own] if isinstance(own, str) else own))).strip()
    parameters = {name: value for name, value in _POSTGRESQL_CLIENT.items() if name not in url.query}
    try:
        return sa.create_engine(
            url,
            connect_args=parameters | {"options": options},
            # one snapshot for each transaction, and an error instead of overwriting what somebody else changed
            isolation_level="REPEATABLE READ",
            pool_size=1,
            max_overflow=0,
        )
    except ImportError as error:
        raise DatabaseUnusable(
            "PostgreSQL needs a driver that is not installed; run: pip install 'jupyterhub-vessl[postgresql]'"
        ) from error


def _set_sqlite_pragmas(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    connection.isolation_level = None  # type: ignore[attr-defined]  # we say BEGIN ourselves
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        # 64 MiB: SQLite's own 2 MiB is less than what one large settlement changes
        "cache_size=-65536",
        # copying the log back takes two more waits for the disk: after 16 MiB, not 4
        "wal_autocheckpoint=4000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    # taking the write lock first means that a transaction which has read never fails to write
    reads = connection.get_execution_options().get("vessl_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def migrate(engine: sa.Engine) -> None:
    """Bring the database's tables to the newest version; does nothing when they are."""
    config = Config()
    config.set_main_option("script_location", str(resources.files("jupyterhub_vessl.ledger") / "migrations"))
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            # large tables take their time
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


class Database:
    """Runs functions of a connection, each in one transaction, one after the other.

    All work happens on a single thread and a single connection that holds the lease: the service is the only
    writer, a transaction takes well under a millisecond of CPU, and the event loop never waits for a disk.

    A connection that breaks fails the transaction it is in with SQLAlchemy's ``OperationalError``, nothing of
    which is kept unless it was being committed; the next transaction connects anew and takes the lease again.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self._lease = add_lease(self.engine)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._readers = self.engine if self._lease is None else open_engine(url)
        self._reading = self._thread if self._lease is None else ThreadPoolExecutor(1, thread_name_prefix="readers")
        self._lost = asyncio.Event()
        self._lost_message = ""

    async def acquire(self) -> None:
        """Wait, as a standby, until this process holds the lease and may write.

        Raises what the database raises when it cannot be used to begin with.
        """
        standing_by = False
        while True:
            try:
                return await self._in_thread(self._touch)
            except LeaseHeld:
                if not standing_by:
                    log.info("another service keeps the books; standing by")
                standing_by = True
            except sa.exc.OperationalError as error:
                if not standing_by:
                    raise
                log.warning("the database does not answer a standby: %s", bounded(error.__cause__ or error))
            await asyncio.sleep(POLL_SECONDS)

    async def watch_lease(self) -> None:
        """Return never: raises `LeaseLost` once another service keeps the books, and reconnects until then."""
        answers = True
        while True:
            try:
                await self._in_thread(self._touch)
            except sa.exc.OperationalError as error:
                if answers:
                    log.warning("the database does not answer: %s", bounded(error.__cause__ or error))
                answers = False
            else:
                if not answers:
                    log.info("the database answers again")
                answers = True
            try:
                await asyncio.wait_for(self._lost.wait(), WATCH_SECONDS)
            except asyncio.TimeoutError:
                continue

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in a transaction: committed when it returns, rolled back when it raises.

        Raises `LeaseLost`, or `LeaseHeld` if this process never had the lease.
        """
        return await self._in_thread(self._transaction, work)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        if self._lost.is_set():
            raise LeaseLost(self._lost_message)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        except LeaseLost as error:
            # for good: what this process remembers may be outdated
            self._lost_message = error.message
            self._lost.set()
            raise

    def _transaction(self, work: Callable[[sa.Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work``, which only reads and may take long, beside the writer: on what was committed when it began.

        Nobody who starts a workspace waits for it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, work)

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        with self._readers.connect() as connection:
            if self._lease is not None and connection.dialect.name == "sqlite":
                # not the writer's BEGIN IMMEDIATE, which would wait for the writer
                connection = connection.execution_options(vessl_reads=True)
            return work(connection)

    def _touch(self) -> None:
        """Connect, or see that the connection is still there; sends nothing to a database that is."""
        with self.engine.connect():
            pass

    def free_bytes(self) -> int | None:
        """Space left where an SQLite file grows; None for other databases."""
        file = sqlite_file(self.engine.url)
        return None if file is None else shutil.disk_usage(file.absolute().parent).free

    async def migrate(self) -> None:
        """Bring the tables to the newest version."""
        await self._in_thread(migrate, self.engine)

    def close(self) -> None:
        """Wait for what runs, close the connection, and give the lease back; closing twice does nothing more."""
        with contextlib.suppress(RuntimeError):
            # by the thread that opened it
            self._thread.submit(self.engine.dispose)
        self._thread.shutdown(wait=True)
        self._reading.shutdown(wait=True)
        self._readers.dispose()
        if self._lease is not None:
            self._lease.close()
