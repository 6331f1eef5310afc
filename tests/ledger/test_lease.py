"""Who may write: one service at a time, and nobody who has lost the lease, whatever happened to the connection."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import pytest
import sqlalchemy as sa

from jupyterhub_vessl.ledger.database import Database, open_engine
from jupyterhub_vessl.ledger.lease import STANDBY_PATIENCE_SECONDS, DatabaseUnusable, LeaseHeld, LeaseLost


@pytest.fixture
def services():
    """Opens databases as services do, and closes them at the end."""
    opened = []

    def open_one(url):
        opened.append(Database(url))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


def write(number):
    return lambda connection: connection.execute(sa.text(f"INSERT INTO notes VALUES ({number})"))


def notes(connection):
    return sorted(connection.scalars(sa.text("SELECT n FROM notes")))


async def until_free(postgresql, database):
    """A closed connection's session ends a moment later."""
    for _ in range(200):
        if not postgresql.writer_pids(database):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the lease did not become free")


def descriptor_of(database):
    """The socket of a database's one connection."""
    with database.engine.connect() as connection:
        return connection.connection.dbapi_connection.fileno()


async def first_writer(services, url):
    database = services(url)
    await database.acquire()
    await database.run(lambda c: c.execute(sa.text("CREATE TABLE notes (n INTEGER)")))
    return database


async def test_one_service_writes_and_the_next_waits_until_it_ends(services, database_url):
    writer = await first_writer(services, database_url)
    standby = services(database_url)
    with pytest.raises(LeaseHeld):
        await standby.run(write(1))
    waiting = asyncio.create_task(standby.acquire())
    await asyncio.sleep(1.2)
    assert not waiting.done()
    await writer.run(write(2))
    writer.close()
    await asyncio.wait_for(waiting, 5)
    await standby.run(write(3))
    assert await standby.run(notes) == [2, 3]


async def test_a_transaction_whose_connection_dies_leaves_nothing_and_the_next_one_works(
    services, postgresql, postgresql_database
):
    writer = await first_writer(services, postgresql.url(postgresql_database))

    def half(connection):
        write(1)(connection)
        assert postgresql.cut_off(postgresql_database) == 1
        write(2)(connection)

    with pytest.raises(sa.exc.OperationalError):
        await writer.run(half)
    assert await writer.run(notes) == []
    await writer.run(write(3))
    assert await writer.run(notes) == [3]


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restarted_server_is_not_noticed_by_the_next_transaction(
    services, postgresql, postgresql_database, mode
):
    writer = await first_writer(services, postgresql.url(postgresql_database))
    await writer.run(write(1))
    postgresql.restart(mode)
    await writer.run(write(2))
    assert await writer.run(notes) == [1, 2]


async def test_nobody_writes_on_after_another_took_the_lease(services, postgresql, postgresql_database):
    url = postgresql.url(postgresql_database)
    writer, other = await first_writer(services, url), services(url)
    watch = asyncio.create_task(writer.watch_lease())
    # on this loop nothing of the watch can come between the cut and the taking
    postgresql.cut_off(postgresql_database)
    other._touch()
    with pytest.raises(LeaseLost, match="Another service keeps the books now"):
        await writer.run(write(1))
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(watch, 5)
    other.close()
    with pytest.raises(LeaseLost):  # free or not, it is over
        await writer.run(write(2))
    with open_engine(url).connect() as connection:
        assert notes(connection) == []


async def test_a_connection_that_dies_while_another_waits_within_a_transaction_is_fenced_off(
    services, postgresql, postgresql_database
):
    url = postgresql.url(postgresql_database)
    writer, other = await first_writer(services, url), services(url)

    def interrupted(connection):
        write(1)(connection)
        postgresql.cut_off(postgresql_database)
        other._touch()
        write(2)(connection)

    with pytest.raises(sa.exc.OperationalError):
        await writer.run(interrupted)
    with pytest.raises(LeaseLost):
        await writer.run(write(3))
    assert await other.run(notes) == []


async def test_a_lease_that_somebody_had_in_between_is_lost_though_it_is_free(
    services, postgresql, postgresql_database
):
    url = postgresql.url(postgresql_database)
    writer, other = await first_writer(services, url), services(url)
    postgresql.cut_off(postgresql_database)
    other._touch()
    other.close()
    await until_free(postgresql, postgresql_database)
    with pytest.raises(LeaseLost):
        await writer.run(write(1))


async def test_the_writer_waits_for_its_own_session_that_the_server_believes_alive(
    services, postgresql, postgresql_database
):
    writer = await first_writer(services, postgresql.url(postgresql_database))
    (pid,) = postgresql.writer_pids(postgresql_database)
    os.kill(pid, signal.SIGSTOP)  # as if the network were cut: it hears nothing
    try:
        with socket.socket(fileno=os.dup(descriptor_of(writer))) as network:
            network.shutdown(socket.SHUT_RDWR)
        with pytest.raises(sa.exc.OperationalError, match="yet to notice"):
            await writer.run(write(1))
    finally:
        os.kill(pid, signal.SIGCONT)
    await until_free(postgresql, postgresql_database)
    await writer.run(write(2))
    assert await writer.run(notes) == [2]


async def test_a_server_that_restarts_is_no_failover(services, postgresql, postgresql_database):
    url = postgresql.url(postgresql_database)
    writer, standby = await first_writer(services, url), services(url)
    waiting = asyncio.create_task(standby.acquire())
    await asyncio.sleep(0.7)
    await asyncio.to_thread(postgresql.restart)
    await asyncio.sleep(1.7)  # time to ask three times, but the writer, who is slow here, is to be first
    assert not waiting.done()
    await writer.run(write(1))
    await asyncio.sleep(STANDBY_PATIENCE_SECONDS)
    assert not waiting.done()
    assert len(postgresql.writer_pids(postgresql_database)) == 1
    writer.close()
    await asyncio.wait_for(waiting, 5)
    assert await standby.run(notes) == [1]


def test_a_database_that_does_not_answer_is_told_at_the_start(services):
    database = services("postgresql://postgres@127.0.0.1:1/vessl")
    with pytest.raises(sa.exc.OperationalError):
        asyncio.run(database.acquire())


async def test_a_vanished_machine_is_noticed_by_both_sides_within_seven_seconds(
    services, postgresql, postgresql_database
):
    writer = await first_writer(services, postgresql.url(postgresql_database))
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    server = [await writer.run(lambda c, name=name: int(c.scalar(sa.text(f"SHOW {name}")))) for name in names]
    with socket.socket(fileno=os.dup(descriptor_of(writer))) as client:
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        assert [client.getsockopt(socket.IPPROTO_TCP, option) for option in options] == server
    idle, interval, count, user_timeout_ms = server
    assert (idle + interval * count, user_timeout_ms) == (7, 7000)


async def test_a_locked_table_gives_an_error_and_does_not_hang(services, postgresql, postgresql_database):
    url = postgresql.url(postgresql_database)
    writer = await first_writer(services, url)
    assert await writer.run(lambda c: c.scalar(sa.text("SHOW lock_timeout"))) == "30s"
    writer.close()
    # what the URL says counts more than what the service sets
    hasty = services(f"{url}?options=-c%20lock_timeout%3D100")
    with open_engine(url).begin() as stranger:
        stranger.execute(sa.text("LOCK TABLE notes"))
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            await hasty.run(write(1))
    await hasty.run(write(2))
    assert await hasty.run(notes) == [2]


async def test_what_somebody_else_changed_meanwhile_is_not_overwritten(services, postgresql, postgresql_database):
    url = postgresql.url(postgresql_database)
    writer = await first_writer(services, url)
    await writer.run(write(1))

    def add_one(connection):
        (before,) = notes(connection)
        with open_engine(url).begin() as stranger:
            stranger.execute(sa.text("UPDATE notes SET n = n + 10"))
        connection.execute(sa.text(f"UPDATE notes SET n = {before + 1}"))

    with pytest.raises(sa.exc.OperationalError):
        await writer.run(add_one)
    assert await writer.run(notes) == [11]


async def test_a_removed_lock_file_ends_the_lease(services, sqlite_url, tmp_path):
    writer = await first_writer(services, sqlite_url)
    (tmp_path / "vessl.sqlite.lock").unlink()
    with pytest.raises(LeaseLost, match="lock file"):
        await writer.run(write(1))


async def test_a_database_in_memory_is_nobody_elses(services):
    one, other = await first_writer(services, "sqlite://"), await first_writer(services, "sqlite://")
    assert [await one.run(lambda c: c.exec_driver_sql("SELECT 1").scalar()) for one in (one, other)] == [1, 1]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://root@127.0.0.1/vessl", r"mysql:// is not supported; use sqlite:///FILE or postgresql://"),
        ("postgresql+psycopg2://root@127.0.0.1/vessl", r"postgresql\+psycopg2:// is not supported"),
    ],
)
def test_other_databases_are_refused_with_a_sentence(url, sentence):
    with pytest.raises(DatabaseUnusable, match=sentence):
        open_engine(url)


def test_a_missing_driver_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseUnusable, match=r"pip install 'jupyterhub-vessl\[postgresql\]'"):
        open_engine("postgresql://postgres@127.0.0.1/vessl")
