"""What all tests share: databases of both kinds, and how many examples the property tests try.

The property tests have two profiles: ``test`` for every day, ``prove`` for ``make prove``.
"""

from __future__ import annotations

import os
import shutil

import aiohttp
import pytest
from hypothesis import settings
from postgresql_parts import TEMPLATE, PostgresServer, postgresql_programs

from jupyterhub_vessl.ledger.database import migrate, open_engine

settings.register_profile("test", max_examples=100, deadline=None)
settings.register_profile("prove", max_examples=10_000, deadline=None, print_blob=True)
# c-ares keeps an inotify instance for each session until a second after its end, of 128 that all programs share
aiohttp.connector.DefaultResolver = aiohttp.ThreadedResolver
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))


def _migrated(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server with a migrated template; without one a clear skip, and a failure in CI."""
    programs = postgresql_programs()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed; in CI nothing is skipped")
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    server = PostgresServer(programs)
    try:
        server.start()
        server.ask(f"CREATE DATABASE {TEMPLATE}")
        _migrated(server.url(TEMPLATE))
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("sqlite") / "template.sqlite"
    _migrated(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path):
    """The URL of an empty, migrated SQLite database."""
    shutil.copyfile(sqlite_template, tmp_path / "vessl.sqlite")
    return f"sqlite:///{tmp_path}/vessl.sqlite"


@pytest.fixture
def postgresql_database(postgresql):
    """The name of an empty, migrated PostgreSQL database."""
    name = postgresql.new_database()
    yield name
    postgresql.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    """The URL of an empty, migrated database; the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    name = request.getfixturevalue("postgresql_database")
    return request.getfixturevalue("postgresql").url(name)
