"""The books: append-only, balanced, exact whatever the order and frequency of booking."""

from fractions import Fraction

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyterhub_vessl.ledger import schema
from jupyterhub_vessl.ledger.database import Database, migrate, open_engine
from jupyterhub_vessl.ledger.funding import credit_state
from jupyterhub_vessl.ledger.history import movements
from jupyterhub_vessl.ledger.meters import close_days
from jupyterhub_vessl.ledger.postings import (
    CREDITS,
    PAYMENTS,
    USAGE,
    Transaction,
    UnbalancedTransaction,
    post,
    remember,
    remembered,
    settled_micros,
    summed_micros,
)
from jupyterhub_vessl.ledger.records import latest_ms
from jupyterhub_vessl.ledger.spans import close_spans, open_span, open_spans, settle
from jupyterhub_vessl.model.errors import Conflict
from jupyterhub_vessl.model.money import HOUR_MS

T0 = 1_800_000_000_000


def top_up(connection, micros, organization="acme"):
    transaction = Transaction(organization, "top-up", T0, T0, "ada", "invoice", "r1")
    return post(connection, transaction, {CREDITS: micros, PAYMENTS: -micros})


def run_span(connection, admission_id, rate, started_ms=T0, kind="compute"):
    open_span(
        connection,
        organization="acme",
        team="vision",
        person="mia",
        workspace_id="w1",
        admission_id=admission_id,
        kind=kind,
        rate_micros_per_hour=rate,
        started_ms=started_ms,
        item="cpu-small",
    )


def close(connection, admission_id, at_ms):
    close_spans(connection, admission_id, "compute", at_ms=at_ms, now_ms=at_ms, actor="service", reason="user")


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(engine):
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_migrating_twice_changes_nothing(engine):
    with engine.begin() as connection:
        top_up(connection, 5)
    migrate(engine)
    with engine.begin() as connection:
        assert settled_micros(connection, "acme") == 5


@pytest.mark.parametrize("table", ["transactions", "entries"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET amount_micros = amount_micros + 100"])
def test_what_is_booked_cannot_be_changed_or_deleted(connection, table, statement):
    top_up(connection, 5)
    with pytest.raises(sa.exc.IntegrityError, match="append-only"):
        connection.execute(sa.text(statement.format(table)))


def test_entries_that_do_not_sum_to_zero_are_refused(connection):
    transaction = Transaction("acme", "top-up", T0, T0, "ada", "", "")
    with pytest.raises(UnbalancedTransaction):
        post(connection, transaction, {CREDITS: 10, PAYMENTS: -9})
    assert settled_micros(connection, "acme") == 0


def test_a_transaction_that_fails_leaves_nothing(engine):
    def work():
        with engine.begin() as connection:
            top_up(connection, 5)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        work()
    with engine.begin() as connection:
        assert (settled_micros(connection, "acme"), summed_micros(connection, "acme")) == (0, 0)


def test_the_same_key_and_body_is_remembered_and_another_body_is_refused(connection):
    assert remembered(connection, "k", {"a": 1, "b": 2}) is None
    remember(connection, "k", {"a": 1, "b": 2}, {"id": "x"}, T0)
    assert remembered(connection, "k", {"b": 2, "a": 1}) == {"id": "x"}
    with pytest.raises(Conflict):
        remembered(connection, "k", {"a": 1, "b": 3})


def test_a_closed_span_is_booked_to_the_micro_and_closing_again_books_nothing(connection):
    run_span(connection, "a1", 50_000)
    close(connection, "a1", T0 + 1234)
    close(connection, "a1", T0 + 99_999)
    assert settled_micros(connection, "acme") == -round(Fraction(50_000 * 1234, HOUR_MS))
    assert open_spans(connection) == ()


def test_what_was_booked_beyond_the_end_of_a_span_is_given_back_by_a_new_transaction(connection):
    run_span(connection, "a1", 3_600_000_000)
    settle(connection, "acme", T0 + 5000, T0 + 5000)
    close_spans(connection, "a1", "compute", at_ms=T0 + 1000, now_ms=T0 + 6000, actor="service", reason="lost")
    assert settled_micros(connection, "acme") == -1_000_000
    assert [(m.kind, m.amount_micros, m.from_ms, m.to_ms) for m in movements(connection, "acme")] == [
        ("correction", 4_000_000, T0 + 1000, T0 + 5000),
        ("usage", -5_000_000, T0, T0 + 5000),
    ]


def test_settling_changes_no_balance(connection):
    top_up(connection, 10_000_000)
    run_span(connection, "a1", 1_234_567)
    before = credit_state(connection, "acme", "USD", T0 + 777_777).balance_micros(T0 + 777_777)
    assert settle(connection, "acme", T0 + 333_333, T0 + 333_333) == 1
    assert credit_state(connection, "acme", "USD", T0 + 777_777).balance_micros(T0 + 777_777) == before


def test_another_organizations_spans_do_not_count(connection):
    run_span(connection, "a1", 3_600_000_000)
    assert credit_state(connection, "umbrella", "USD", T0 + 1000).balance_micros(T0 + 1000) == 0


steps = st.lists(
    st.tuples(st.sampled_from(["start", "stop", "settle", "top-up"]), st.integers(0, 5), st.integers(0, 10**7)),
    max_size=30,
)


@settings(deadline=None, max_examples=min(settings.default.max_examples, 1_000))
@given(steps, st.lists(st.integers(0, 20_000_000), min_size=6, max_size=6))
def test_the_balance_is_what_an_independent_oracle_says(steps, rates):
    """The oracle keeps exact fractions and rounds each span once, at its end or now."""
    engine = open_engine("sqlite://")
    migrate(engine)
    now, paid, running, ended = T0, 0, {}, []
    with engine.begin() as connection:
        for number, (what, slot, amount) in enumerate(steps):
            now += amount % 100_000
            if what == "top-up":
                paid += amount
                top_up(connection, amount)
            elif what == "settle":
                settle(connection, "acme", now, now)
            elif what == "start" and slot not in running:
                running[slot] = (f"a{number}", rates[slot], now)
                run_span(connection, f"a{number}", rates[slot], now)
            elif what == "stop" and slot in running:
                admission_id, rate, started = running.pop(slot)
                ended.append(round(Fraction(rate * (now - started), HOUR_MS)))
                close(connection, admission_id, now)
        accrued = sum(round(Fraction(rate * (now - started), HOUR_MS)) for _, rate, started in running.values())
        expected = paid - sum(ended) - accrued
        assert credit_state(connection, "acme", "USD", now).balance_micros(now) == expected
        assert settled_micros(connection, "acme") == summed_micros(connection, "acme")
        names = (CREDITS, PAYMENTS, USAGE)
        assert sum(summed_micros(connection, "acme", name) for name in names) == 0
    engine.dispose()


def test_the_latest_instant_of_the_books_is_known_after_a_restart(connection):
    assert latest_ms(connection) == 0
    top_up(connection, 10)
    assert latest_ms(connection) == T0
    close_days(connection, T0 + 5 * 86_400_000)
    assert latest_ms(connection) > T0


def test_history_is_newest_first_with_the_balance_after_each(connection):
    for micros in (10, 20, 30):
        top_up(connection, micros)
    lines = movements(connection, "acme")
    assert [(m.amount_micros, m.balance_micros) for m in lines] == [(30, 60), (20, 30), (10, 10)]
    older = movements(connection, "acme", before=lines[1].serial)
    assert [m.balance_micros for m in older] == [10]


async def test_transactions_of_one_database_run_one_after_the_other(tmp_path):
    import asyncio

    database = Database(f"sqlite:///{tmp_path}/ledger.sqlite")
    await database.migrate()

    def add(connection):
        before = settled_micros(connection, "acme")
        top_up(connection, 1)
        return before

    seen = await asyncio.gather(*(database.run(add) for _ in range(50)))
    assert sorted(seen) == list(range(50))
    database.close()


def test_sqlite_writes_through_to_the_disk(sqlite_url):
    engine = open_engine(sqlite_url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    engine.dispose()
