"""A fresh database for each test, on SQLite and on PostgreSQL."""

import pytest

from jupyterhub_vessl.ledger.database import open_engine


@pytest.fixture
def engine(database_url):
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine):
    with engine.begin() as connection:
        yield connection
