"""The lease: which one of several services may write.  Every connection that an engine makes asks for it.

* PostgreSQL: an advisory lock of the writing session itself.  A session that ended, for whatever reason, has lost
  both its lock and its way to write, so nobody can write on without having taken the lock again.
* SQLite: a lock on a file beside the database, which the kernel releases however its process ends.
* SQLite in memory: nobody else can reach it, so there is no lease.
"""

from __future__ import annotations

import fcntl
import os
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from ..model.errors import Unavailable, VesslError

if TYPE_CHECKING:
    import psycopg

STANDBY_PATIENCE_SECONDS = 3
"""How long a standby whose connection broke lets the writer be first: a database that restarts is no failover."""

_TAKE = "SELECT pg_try_advisory_lock(hashtextextended('jupyterhub-vessl ' || coalesce(current_schema(), ''), 0))"
_STILL_OURS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = %s"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_TERMS = "vessl_lease_terms"


class DatabaseUnusable(VesslError):
    """The database cannot be opened as it is configured; one sentence says why and what to do."""


class LeaseHeld(Unavailable):
    """Another service holds the lease, so this one may not write."""

    def __init__(self, message: str = "Another service keeps the books, so nothing was changed.") -> None:
        super().__init__(message, hint="Try again in a moment.")


class LeaseLost(LeaseHeld):
    """This service held the lease and does no more.  What it remembers may be outdated, so its process must end."""

    def __init__(
        self, message: str = "Another service keeps the books now, so this one ends; nothing was changed."
    ) -> None:
        super().__init__(message)


class SessionLease:
    """The lease on a PostgreSQL database and schema: an advisory lock of the session that writes.

    Each taking of the lease is a term, counted in the database.  A service that lost its connection may go on only
    in its own term: when somebody else wrote meanwhile, it has to end even if the lock is free again.
    """

    def __init__(self) -> None:
        self._candidate: psycopg.Connection[Any] | None = None
        self._stood_by = False
        self._patient_until_seconds = 0.0
        self._term: int | None = None
        self._backend_pid = 0
        self._lost = False

    def connect(self, dialect: sa.Dialect, _record: object, arguments: Any, parameters: Any) -> object:
        """A new connection that holds the lease (SQLAlchemy's ``do_connect``); raises `LeaseHeld`, `LeaseLost`."""
        if self._lost:
            raise LeaseLost
        connection, self._candidate = self._candidate, None
        if connection is None:
            connection = self._reach(dialect, arguments, parameters)
        try:
            held = time.monotonic() >= self._patient_until_seconds and self._take(connection, dialect)
        except BaseException:
            connection.close()
            raise
        if held:
            return connection
        if self._term is not None:
            self._lost = True
            connection.close()
            raise LeaseLost
        # the same connection asks again, and becomes the writing one
        self._candidate, self._stood_by = connection, True
        raise LeaseHeld

    def _reach(self, dialect: sa.Dialect, arguments: Any, parameters: Any) -> psycopg.Connection[Any]:
        connection: Any = dialect.connect(*arguments, **parameters)
        if self._stood_by and self._term is None:
            self._patient_until_seconds = time.monotonic() + STANDBY_PATIENCE_SECONDS
        return connection  # type: ignore[no-any-return]

    def _take(self, connection: psycopg.Connection[Any], dialect: sa.Dialect) -> bool:
        # no transaction: what the first one sees must be what is there once the lock is held
        connection.autocommit = True
        with connection.cursor() as cursor:
            if not _value(cursor, _TAKE):
                if self._backend_pid and _value(cursor, _STILL_OURS, self._backend_pid):
                    error: type[Exception] = dialect.loaded_dbapi.OperationalError
                    raise error("the server has yet to notice that our former connection is gone")
                return False
            held = self._is_own_term(cursor)
        self._backend_pid = connection.info.backend_pid
        connection.autocommit = False
        return held

    def _is_own_term(self, cursor: psycopg.Cursor[Any]) -> bool:
        """Count a new term, or see whether the one we had is still the last."""
        counted = _value(cursor, f"SELECT to_regclass('{_TERMS}') IS NOT NULL")
        if self._term is not None:
            # without a count it is another database under the same name
            return bool(counted and _value(cursor, f"SELECT last_value FROM {_TERMS}") == self._term)  # noqa: S608
        if not counted:
            cursor.execute(f"CREATE SEQUENCE {_TERMS}")
        # setval and not nextval, which after a crash of the server may skip numbers
        self._term = _value(cursor, f"SELECT setval('{_TERMS}', last_value + 1) FROM {_TERMS}")  # noqa: S608
        return True

    def check(self, connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
        """Have a connection that the server has closed replaced before it is used (``checkout``); asks nothing."""
        poll = select.poll()
        for _ in range(4):
            if connection.closed:
                break
            poll.register(connection.fileno(), select.POLLIN)
            if not poll.poll(0):
                return
            # the server said something unasked: a change of a setting, or that it ends
            try:
                connection.pgconn.consume_input()
                connection.pgconn.is_busy()
            except Exception:  # whatever it is, the connection is of no use
                break
        raise sa.exc.DisconnectionError("the server has closed the connection")

    def close(self) -> None:
        """Stop standing by.  The lock itself ends with the writing connection."""
        if self._candidate is not None:
            self._candidate.close()


def _value(cursor: psycopg.Cursor[Any], query: str, *parameters: object) -> Any:
    row = cursor.execute(query, parameters or None).fetchone()
    return row[0] if row else None


class FileLease:
    """The lease on an SQLite file: a lock on ``FILE.lock``, which stays in place when nobody holds it."""

    def __init__(self, database: Path) -> None:
        self._path = Path(f"{database.resolve()}.lock")
        self._descriptor: int | None = None

    def connect(self, *_: object) -> None:
        """Take the lease before the file is opened (``do_connect``); raises `LeaseHeld`, `DatabaseUnusable`."""
        if self._descriptor is not None:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseUnusable(f"The database cannot be used: {self._path}: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise LeaseHeld from None
            raise DatabaseUnusable(f"{self._path} cannot be locked: {error.strerror}.") from error
        self._descriptor = descriptor

    def check(self, *_: object) -> None:
        """Raise `LeaseLost` when the lock file was removed or replaced: another service could lock the new one."""
        if self._descriptor is None:
            raise LeaseLost
        try:
            there = os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except OSError:
            there = False
        if not there:
            raise LeaseLost("The lock file of the books was removed, so this service ends; nothing was changed.")

    def close(self) -> None:
        """Give the lease back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def add_lease(engine: sa.Engine) -> SessionLease | FileLease | None:
    """Let every connection of the engine hold the lease; None for a database that nobody else can reach."""
    lease: SessionLease | FileLease
    if engine.dialect.name == "sqlite":
        file = sqlite_file(engine.url)
        if file is None:
            return None
        lease = FileLease(file)
    else:
        lease = SessionLease()
    sa.event.listen(engine, "do_connect", lease.connect)
    sa.event.listen(engine, "checkout", lease.check)
    return lease


def sqlite_file(url: sa.URL) -> Path | None:
    """The file behind an SQLite URL; None when it is in memory, or no SQLite."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or ":memory:" in name or url.query.get("mode") == "memory":
        return None
    return Path(urlsplit(name).path if name.startswith("file:") else name)
