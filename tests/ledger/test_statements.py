"""Statements: opening + lines = closing, whatever was booked when, and whichever instants one asks for."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyterhub_vessl.ledger.audit import rebuild_meters
from jupyterhub_vessl.ledger.database import migrate, open_engine
from jupyterhub_vessl.ledger.funding import Grant, advance, book_draws, credit_state, insert_grant, next_grant_number
from jupyterhub_vessl.ledger.history import balance_as_of
from jupyterhub_vessl.ledger.organization_audit import audit_organization
from jupyterhub_vessl.ledger.postings import CREDITS, PAYMENTS, Transaction, post
from jupyterhub_vessl.ledger.schema import balances, meters, spans, transactions
from jupyterhub_vessl.ledger.spans import close_spans, open_span, settle
from jupyterhub_vessl.ledger.statements import (
    Key,
    Scope,
    Sums,
    Window,
    add_range,
    begin_sums,
    lines,
    take_snapshot,
)
from jupyterhub_vessl.model.funds import Applies
from jupyterhub_vessl.model.money import DAY_MS, HOUR_MS, Accrual, cumulative_micros
from jupyterhub_vessl.model.units import GIB

T0 = 1_800_000_000_000
MIDNIGHT = T0 - T0 % DAY_MS
TEAM_OF = {"mia": "vision", "tom": "speech", "lea": "speech"}
PEOPLE = tuple(TEAM_OF)
ALL = Scope("acme")


@dataclass
class Books:
    """Makes a history, step by step, at instants that only grow."""

    connection: sa.Connection
    now_ms: int = T0
    running: dict[int, str] = field(default_factory=dict)
    begun: Counter = field(default_factory=Counter)

    def start(self, slot, rate, organization="acme", kind="compute", size_bytes=0):
        if slot in self.running:
            return
        self.begun[slot] += 1
        person = PEOPLE[slot % len(PEOPLE)]
        self.running[slot] = f"a{slot}-{self.begun[slot]}"
        open_span(
            self.connection,
            organization=organization,
            team=TEAM_OF[person],
            person=person,
            workspace_id=f"w{slot}",
            admission_id=self.running[slot],
            kind=kind,
            rate_micros_per_hour=rate,
            started_ms=self.now_ms,
            item="workspace" if kind == "storage" else f"spec-{slot % 2}",
            size_bytes=size_bytes,
        )

    def stop(self, slot, late_ms=0, kind="compute"):
        if slot in self.running:
            where = (self.connection, self.running.pop(slot), kind)
            close_spans(*where, at_ms=self.now_ms - late_ms, now_ms=self.now_ms, actor="service", reason="user")

    def settle(self):
        advance(self.connection, "acme", self.now_ms)
        settle(self.connection, "acme", self.now_ms, self.now_ms)
        book_draws(self.connection, "acme", self.now_ms, self.now_ms)

    def top_up(self, micros, organization="acme"):
        transaction = Transaction(organization, "top-up", self.now_ms, self.now_ms, "ada", "invoice", "r")
        post(self.connection, transaction, {CREDITS: micros, PAYMENTS: -micros})

    def grant(self, micros, hours):
        number = next_grant_number(self.connection)
        grant = Grant(
            id=f"g{number}",
            number=number,
            organization="acme",
            title="Welcome",
            actor="ada",
            created_ms=self.now_ms,
            amount_micros=micros,
            priority=100,
            effective_ms=self.now_ms,
            expires_ms=self.now_ms + hours * HOUR_MS,
            applies=Applies(),
            state="scheduled",
            ended_ms=None,
            drawn_units=0,
            booked_micros=0,
        )
        insert_grant(self.connection, grant, self.now_ms)

    def statement(self, from_ms, to_ms=None, scope=ALL, size=5) -> Sums:
        window = Window(from_ms, to_ms, self.now_ms)
        snapshot = take_snapshot(self.connection, scope, window)
        sums = begin_sums(snapshot)
        for after, upto in snapshot.ranges(size, opening=True):
            add_range(self.connection, scope, window, sums, after=after, upto=upto, first=snapshot.first)
        return sums

    def export(self, from_ms, to_ms=None, scope=ALL, size=5, draws=False):
        window = Window(from_ms, to_ms, self.now_ms)
        snapshot = take_snapshot(self.connection, scope, window)
        found = list(snapshot.open)
        for after, upto in snapshot.ranges(size):
            found += lines(self.connection, scope, window, after=after, upto=upto, draws=draws)
        return found

    def balance(self) -> int:
        return credit_state(self.connection, "acme", "USD", self.now_ms, exact=True).balance_micros(self.now_ms)


@pytest.fixture
def books(connection):
    return Books(connection)


def micros_by_key(found):
    """What lines of an export sum to, by the key of a statement's line."""
    total = Counter()
    for line in found:
        key = Key(line.kind, line.item, line.team, line.person, line.workspace_id, line.usage)
        total[key] += line.amount_micros
    return {key: micros for key, micros in total.items() if micros}


def micros_of(sums):
    return {key: line.amount_micros for key, line in sums.lines.items() if line.amount_micros}


steps = st.lists(
    st.tuples(
        st.sampled_from(["start", "start", "stop", "late", "settle", "top-up", "grant"]),
        st.integers(0, 5),
        st.integers(1, 15 * HOUR_MS),
    ),
    min_size=1,
    max_size=25,
)
instants = st.lists(st.integers(T0 - DAY_MS, T0 + 10 * DAY_MS), min_size=1, max_size=4)


def live(books, history, rates):
    for what, slot, amount in history:
        books.now_ms += amount
        if what == "start":
            books.start(slot, rates[slot])
        elif what in ("stop", "late"):
            books.stop(slot, late_ms=amount * 2 if what == "late" else 0)
        elif what == "settle":
            books.settle()
        elif what == "top-up":
            books.top_up(amount)
        else:
            books.grant(amount, slot + 1)
    books.now_ms += 12_345


@settings(deadline=None, max_examples=min(settings.default.max_examples, 1_000))
@given(steps, st.lists(st.integers(0, 20_000_000), min_size=6, max_size=6), instants)
def test_statements_meet_at_any_instant_and_sum_up_to_the_balance(history, rates, asked):
    engine = open_engine("sqlite://")
    migrate(engine)
    with engine.begin() as connection:
        books = Books(connection)
        live(books, history, rates)
        balance = books.balance()
        now_ms = books.now_ms
        cuts = sorted({T0 - DAY_MS, *(at for at in asked if at < now_ms)})
        moments = set(
            connection.execute(sa.select(transactions.c.at_ms).where(transactions.c.kind != "usage")).scalars()
        )
        whole = books.statement(cuts[0])
        assert (whole.opening_micros, whole.closing_micros) == (0, balance)
        together: Counter = Counter()
        closing = 0
        for from_ms, to_ms in zip(cuts, [*cuts[1:], None], strict=True):
            part = books.statement(from_ms, to_ms)
            assert part.opening_micros == closing
            closing = part.closing_micros
            if to_ms is not None and to_ms not in moments:
                assert closing == balance_as_of(connection, "acme", to_ms)
            assert micros_by_key(books.export(from_ms, to_ms)) == micros_of(part)
            together.update({key: line.amount_micros for key, line in part.lines.items()})
        assert closing == balance
        assert {k: v for k, v in together.items() if v} == micros_of(whole)
        _check_parts(books, cuts[-1], whole)
    engine.dispose()


def _check_parts(books, from_ms, whole):
    """What teams, people and workspaces used is what the organization used, before and in the period."""
    used = sum(line.amount_micros for key, line in whole.lines.items() if key.usage)
    for scopes in (
        [Scope("acme", team=team) for team in set(TEAM_OF.values())],
        [Scope("acme", person=person) for person in PEOPLE],
        [Scope("acme", workspace_id=f"w{slot}") for slot in range(6)],
        [Scope("acme", only=("mia", ("speech",)))],
    ):
        parts = [books.statement(from_ms, scope=scope, size=1000) for scope in scopes]
        assert all(key.usage for part in parts for key in part.lines)
        assert sum(part.closing_micros for part in parts) == used
        assert all(part.opening_micros <= 0 for part in parts)


def test_days_sum_up_to_their_month_on_both_databases(books):
    books.top_up(90_000_000)
    books.start(0, 1_234_567)
    books.start(1, 7_000_001, kind="storage", size_bytes=20 * GIB)
    for _ in range(4):
        books.now_ms += 17 * HOUR_MS + 4321
        books.settle()
    books.stop(0, late_ms=30 * HOUR_MS)
    books.now_ms += 5 * HOUR_MS
    days = [MIDNIGHT + n * DAY_MS for n in range(4)]
    month = books.statement(days[0])
    parts = [books.statement(a, b) for a, b in zip(days, [*days[1:], None], strict=True)]
    for key, line in month.lines.items():
        same = [part.lines[key] for part in parts if key in part.lines]
        for name in ("amount_micros", "used_ms", "used_byte_ms"):
            assert sum(getattr(one, name) for one in same) == getattr(line, name)
    assert month.closing_micros == parts[-1].closing_micros == books.balance()
    stored = next(line for key, line in month.lines.items() if key.usage == "storage")
    assert stored.used_ms == books.now_ms - T0
    assert stored.used_byte_ms == stored.used_ms * 20 * GIB
    kinds = {key.kind for key in month.lines}
    assert kinds == {"top-up", "usage", "correction"}


def test_a_booking_across_a_boundary_is_cut_exactly_there(books):
    books.start(0, 1_000_003)
    books.now_ms += 100_000
    books.settle()
    accrual, cut = Accrual(1_000_003, T0), T0 + 33_333
    before, after = books.statement(T0, cut), books.statement(cut)
    assert before.closing_micros == after.opening_micros == -cumulative_micros(accrual, cut)
    assert after.closing_micros == -cumulative_micros(accrual, books.now_ms)
    (line,) = books.export(T0, cut)
    assert (line.from_ms, line.to_ms, line.amount_micros) == (T0, cut, before.closing_micros)


def test_what_runs_counts_until_the_end_of_the_period_or_now_and_is_marked(books):
    books.start(0, 3_600_000_000)
    books.now_ms += 10_000
    sums = books.statement(T0, T0 + 4_000)
    assert (sums.closing_micros, sums.unbooked_micros) == (-4_000_000, -4_000_000)
    sums = books.statement(T0 + 4_000, T0 + 99_000_000)
    assert (sums.opening_micros, sums.closing_micros) == (-4_000_000, -10_000_000)
    assert [(line.booked, line.amount_micros) for line in books.export(T0)] == [(False, -10_000_000)]
    books.settle()
    assert [(line.booked, line.amount_micros) for line in books.export(T0)] == [(True, -10_000_000)]


def test_a_top_up_at_the_boundary_belongs_to_the_statement_that_begins_there(books):
    books.top_up(5)
    books.now_ms += 1
    assert books.statement(T0 - 10, T0).lines == {}
    assert books.statement(T0).opening_micros == 0
    assert books.statement(T0).closing_micros == 5


def test_what_a_grant_paid_for_is_only_told_on_request_and_with_its_amount(books):
    books.grant(3_000_000, hours=48)
    books.start(0, 1_000_000)
    books.now_ms += HOUR_MS
    books.settle()
    assert {line.kind for line in books.export(T0)} == {"grant", "usage"}
    drawn = [line for line in books.export(T0, draws=True) if line.kind == "draw"]
    assert [(line.amount_micros, line.drawn_micros) for line in drawn] == [(0, 1_000_000)]
    assert books.statement(T0).closing_micros == books.balance() == 2_000_000


def test_another_organizations_movements_are_in_no_statement(books):
    books.top_up(7, "umbrella")
    books.start(0, 1_000_000, "umbrella")
    books.now_ms += HOUR_MS
    assert books.statement(T0).lines == {}
    assert books.export(T0) == []


def test_an_audit_finds_what_is_wrong_in_an_organization_and_tells_nothing_of_another(books, connection):
    for organization, slot in (("acme", 0), ("acme-2", 1)):
        books.top_up(50_000_000, organization)
        books.start(slot, 1_000_000, organization)
    books.now_ms += HOUR_MS
    books.settle()
    clean = audit_organization(connection, "acme", books.now_ms)
    assert (clean.ok, clean.transactions, clean.sum_micros) == (True, 2, 0)
    assert clean.balances_micros == {"credits": 49_000_000, "payments": -50_000_000, "usage": 1_000_000}
    for table, change in (
        (balances, {"settled_micros": 1}),
        (spans, {"settled_ms": books.now_ms}),
        (meters, {"gpus": 3, "closed_micros": 4}),
    ):
        connection.execute(table.update().where(table.c.organization == "acme-2").values(change))
    assert audit_organization(connection, "acme", books.now_ms).ok
    found = {d.what for d in audit_organization(connection, "acme-2", books.now_ms).differences}
    scopes = {scope for scope in rebuild_meters(connection, books.now_ms) if scope.split("/")[0] == "acme-2"}
    assert {what for what in found if what.startswith("meter ")} == {f"meter {scope}" for scope in scopes}
    assert "acme-2: balance" in found
    assert any(what.startswith("booked for span ") for what in found)
