"""Empty, migrated databases by the dozen, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from postgresql_parts import IN_MEMORY, TEMPLATE, PostgresServer, postgresql_programs

from jupyterhub_vessl.ledger.database import migrate, open_engine

NewDatabase = Callable[[], tuple[str, Callable[[], None]]]
"""Gives a URL, and what waits until nobody holds the lease on it."""


def migrated(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()


@contextmanager
def sqlite_databases() -> Iterator[NewDatabase]:
    """Files in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="vessl-prove-") as name:
        folder, numbers = Path(name), itertools.count(1)
        migrated(f"sqlite:///{folder}/template.sqlite")

        def new_database() -> tuple[str, Callable[[], None]]:
            file = folder / f"{next(numbers)}.sqlite"
            shutil.copyfile(folder / "template.sqlite", file)
            return f"sqlite:///{file}", lambda: None

        yield new_database


@contextmanager
def postgresql_server() -> Iterator[PostgresServer]:
    """A server of our own with a migrated template; raises `RuntimeError` when PostgreSQL is not installed."""
    programs = postgresql_programs()
    if programs is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    server = PostgresServer(programs)
    try:
        server.start()
        server.ask(f"CREATE DATABASE {TEMPLATE}")
        migrated(server.url(TEMPLATE))
        yield server
    finally:
        server.remove()


def postgresql_databases(server: PostgresServer) -> NewDatabase:
    """Copies of the server's template."""

    def new_database() -> tuple[str, Callable[[], None]]:
        name = server.new_database()

        def wait_free() -> None:
            deadline = time.monotonic() + 60
            while server.writer_pids(name):
                if time.monotonic() > deadline:
                    raise TimeoutError("the session of a killed process still holds the lease")
                time.sleep(0.002)

        return server.url(name), wait_free

    return new_database


def in_memory_folder() -> str | None:
    """Where files cost nothing, if there is such a folder; for proofs that are not about the disk."""
    return str(IN_MEMORY) if os.access(IN_MEMORY, os.W_OK) else None
