"""The ledger against an independent oracle: any order of everything that moves money, exact to the micro-credit.

Every run drives two databases with the same commands.  One books as rarely as it can, the other at every step;
neither may ever differ from the oracle, so how often anything is booked cannot matter.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from money_books import SPECS, Books, check_books, postgresql_books, sqlite_books
from money_oracle import HOUR_MS, Gift, Oracle, Use

from jupyterhub_vessl.ledger.history import balance_as_of
from jupyterhub_vessl.ledger.meters import close_days, list_meters, used_by_midnight
from jupyterhub_vessl.ledger.records import latest_ms
from jupyterhub_vessl.ledger.spans import COMPUTE, STORAGE, settle
from jupyterhub_vessl.model.usage import UsageClass

DAY_MS = 24 * HOUR_MS
T0 = 20_834 * DAY_MS - 5 * 60_000
"""Shortly before a midnight, so that days end in most runs."""
ORGANIZATIONS = ("acme", "umbrella")
TEAMS, PEOPLE = ("vision", "speech"), ("mia", "tom")
KEPT_INSTANTS = 40

organizations = st.sampled_from(("acme", "acme", "acme", "umbrella"))
slots = st.integers(0, 3)
rates = st.one_of(st.sampled_from([0, 1, 7, 50_000, 1_800_000, 3_600_000, 19_120_000]), st.integers(10**5, 2 * 10**7))
amounts = st.one_of(st.integers(1, 1000), st.integers(1, 10**7), st.integers(10**8, 10**9))
waits = st.one_of(
    st.integers(0, 1000),
    st.integers(1, 3 * HOUR_MS),
    st.integers(1, 3 * HOUR_MS),
    st.sampled_from([HOUR_MS, DAY_MS, 3 * DAY_MS]),
)
appliances = st.sampled_from(
    [
        {},
        {},
        {},
        {"kind": COMPUTE},
        {"kind": STORAGE},
        {"gpu": True},
        {"gpu": False},
        {"specs": ("cpu-small", "h100-1")},
    ]
)
gifts = st.tuples(
    st.one_of(amounts, st.integers(10**8, 10**10), st.integers(10**8, 10**10)),
    st.integers(0, 2),
    st.one_of(st.just(0), st.just(0), st.integers(0, 2 * HOUR_MS)),
    st.one_of(st.none(), st.none(), st.integers(1, 5 * HOUR_MS), st.integers(1, 10 * DAY_MS)),
    appliances,
)
"""Amount, priority, when it begins and how long it lasts (None for ever) in milliseconds, and what it pays for."""


class MoneyMachine(RuleBasedStateMachine):
    """The rules: all that can happen to money, in any order."""

    new_books: Callable[[], Books]
    """Given by a subclass: makes an empty, migrated database."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = T0
        self.books, self.twin = type(self).new_books(), type(self).new_books()
        self.oracles = {name: Oracle(T0) for name in ORGANIZATIONS}
        self.running: dict[tuple[str, int], str] = {}
        self.stored: dict[tuple[str, int], str] = {}
        self.count = 0
        self.grants = 0
        self.step = 0
        self.seen: list[tuple[str, int, int]] = []
        self.old_uses: list[tuple[str, Use]] = []

    @property
    def both(self) -> tuple[Books, Books]:
        return self.books, self.twin

    @initialize(micros=amounts, began=st.lists(st.tuples(rates, rates), min_size=2, max_size=4), gift=gifts)
    def an_organization_in_use(
        self, micros: int, began: list[tuple[int, int]], gift: tuple[int, int, int, int | None, dict[str, Any]] | None
    ) -> None:
        for books in self.both:
            books.do(close_days, T0)
        self.top_up("acme", micros, 0)
        for slot, (rate, home) in enumerate(began):
            self.start_or_resume("acme", slot, list(SPECS)[slot], rate, home, ("vision", "mia"), 0)
        if gift is not None:
            self.grant("acme", gift, 1000)

    # -- workspaces ----------------------------------------------------------------

    def _begin(self, organization: str, name: str, use: Use) -> None:
        for books in self.both:
            books.open(organization, name, use)
        self.oracles[organization].start(name, use)
        self.old_uses.append((organization, use))

    def _end(self, organization: str, name: str, at_ms: int) -> None:
        for books in self.both:
            books.end(name, self.oracles[organization].uses[name].kind, at_ms, self.now_ms)
        self.oracles[organization].end(name, at_ms)
        self.seen = [(who, ms, micros) for who, ms, micros in self.seen if who != organization or ms <= at_ms]

    def _name(self, what: str) -> str:
        self.count += 1
        return f"{what}:{self.count}"

    @rule(
        org=organizations,
        slot=slots,
        spec=st.sampled_from(list(SPECS)),
        rate=rates,
        home=rates,
        tags=st.tuples(st.sampled_from(TEAMS), st.sampled_from(PEOPLE)),
        wait=waits,
    )
    def start_or_resume(
        self, org: str, slot: int, spec: str, rate: int, home: int, tags: tuple[str, str], wait: int
    ) -> None:
        self._move_to(self.now_ms + wait)
        key = (org, slot)
        if key not in self.running:
            self.running[key] = self._name("run")
            self._begin(org, self.running[key], Use(COMPUTE, spec, SPECS[spec] > 0, rate, self.now_ms, None, tags))
        if key not in self.stored:
            self.stored[key] = self._name("home")
            self._begin(org, self.stored[key], Use(STORAGE, "workspace", False, home, self.now_ms, None, tags))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), wait=waits)
    def pause_or_learn_late_that_it_ended(self, data: st.DataObject, wait: int) -> None:
        self._move_to(self.now_ms + wait)
        key = data.draw(st.sampled_from(sorted(self.running)))
        use = self.oracles[key[0]].uses[self.running[key]]
        ago_ms = data.draw(st.one_of(st.just(0), st.integers(0, self.now_ms - use.from_ms + 5)))
        self._end(key[0], self.running.pop(key), self.now_ms - ago_ms)

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def terminate(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.stored)))
        self._end(key[0], self.stored.pop(key), self.now_ms)
        if key in self.running:
            self._end(key[0], self.running.pop(key), self.now_ms)

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), rate=rates)
    def resize(self, data: st.DataObject, rate: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.stored)))
        self._split(key[0], self.stored[key], rate)

    @rule(org=organizations, spec=st.sampled_from(list(SPECS)), rate=rates)
    def reprice(self, org: str, spec: str, rate: int) -> None:
        for (owner, _), name in list(self.running.items()):
            if owner == org and self.oracles[org].uses[name].item == spec:
                self._split(org, name, rate)

    def _split(self, organization: str, name: str, rate: int) -> None:
        use = self.oracles[organization].uses[name]
        self._end(organization, name, self.now_ms)
        self._begin(organization, name, Use(use.kind, use.item, use.gpu, rate, self.now_ms, None, use.tags))

    # -- credits -------------------------------------------------------------------

    @rule(org=organizations, micros=amounts, wait=waits)
    def top_up(self, org: str, micros: int, wait: int) -> None:
        self._move_to(self.now_ms + wait)
        for books in self.both:
            books.pay(org, micros, self.now_ms)
        self.oracles[org].paid += micros

    @precondition(lambda self: any(oracle.wallet() > 0 for oracle in self.oracles.values()))
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        org = data.draw(st.sampled_from([o for o in ORGANIZATIONS if self.oracles[o].wallet() > 0]))
        micros = data.draw(st.integers(1, self.oracles[org].wallet()))
        for books in self.both:
            books.pay(org, -micros, self.now_ms)
        self.oracles[org].paid -= micros

    @rule(org=organizations, gift=gifts, wait=waits)
    def grant(self, org: str, gift: tuple[int, int, int, int | None, dict[str, Any]], wait: int) -> None:
        self._move_to(self.now_ms + wait)
        amount, priority, begins, lasts, narrowed = gift
        self.grants += 1
        from_ms = self.now_ms + begins
        expires_ms = None if lasts is None else from_ms + lasts
        given = Gift(self.grants, amount, priority, from_ms, expires_ms, **narrowed)
        for books in self.both:
            books.give(org, given, self.now_ms)
        self.oracles[org].give(given)

    def _gifts(self, *states: str) -> list[tuple[str, int]]:
        return [(org, g.number) for org in ORGANIZATIONS for g in self.oracles[org].gifts.values() if g.state in states]

    @precondition(lambda self: self._gifts("live", "scheduled"))
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        org, number = data.draw(st.sampled_from(self._gifts("live", "scheduled")))
        for books in self.both:
            books.void(org, number, self.now_ms)
        self.oracles[org].void(number)

    # -- time and booking ----------------------------------------------------------

    def _move_to(self, now_ms: int) -> None:
        if now_ms == self.now_ms:
            return
        middle_ms = (self.now_ms + now_ms) // 2
        for at_ms in (self.now_ms, middle_ms):
            for org, oracle in self.oracles.items():
                oracle.move_to(at_ms)
                if at_ms < now_ms:
                    self.seen.append((org, at_ms, oracle.total()))
        self.seen = self.seen[-KEPT_INSTANTS:]
        self.now_ms = now_ms
        for oracle in self.oracles.values():
            oracle.move_to(now_ms)

    @rule()
    def time_passes_until_midnight(self) -> None:
        self._move_to((self.now_ms // DAY_MS + 1) * DAY_MS)

    @rule(days=st.integers(4, 40))
    def the_service_was_away(self, days: int) -> None:
        if self.now_ms - T0 < 60 * DAY_MS:
            self._move_to(self.now_ms + days * DAY_MS)

    @precondition(lambda self: self._gifts("live", "scheduled"))
    @rule(data=st.data(), off=st.integers(-1, 1))
    def time_passes_until_something_happens_to_a_grant(self, data: st.DataObject, off: int) -> None:
        org, number = data.draw(st.sampled_from(self._gifts("live", "scheduled")))
        gift = self.oracles[org].gifts[number]
        burn = sum(use.rate for use in self.oracles[org].uses.values() if gift.pays_for(use.group))
        instants = [gift.from_ms, gift.expires_ms or 0]
        if burn:
            instants.append(self.now_ms + int(gift.left * HOUR_MS / burn))
        at_ms = data.draw(st.sampled_from(instants)) + off
        if self.now_ms < at_ms < self.now_ms + 40 * DAY_MS:
            self._move_to(at_ms)

    @rule(org=organizations, ago=st.integers(0, 2 * HOUR_MS))
    def book_now_or_until_some_instant(self, org: str, ago: int) -> None:
        self.books.do(settle, org, self.now_ms - ago, self.now_ms)

    @rule()
    def close_the_day(self) -> None:
        self.books.close_day(self.now_ms, self.now_ms // DAY_MS * DAY_MS)

    @rule()
    def restart(self) -> None:
        for books in self.both:
            books.restart()
            assert books.do(latest_ms) <= self.now_ms

    # -- what must hold after each -------------------------------------------------

    @invariant()
    def everything_is_what_the_oracle_says(self) -> None:
        self.step += 1
        self.twin.close_day(self.now_ms, self.now_ms)
        for books in self.both:
            with books.engine.begin() as connection:
                self._check_balances(books, connection)
                if self.step % (5 if books is self.books else 10) == 0:  # and all of it at the end
                    check_books(connection, self.now_ms)
                    self._check_past(connection, self.seen[-2:])
                    self._check_usage(connection)

    def _check_balances(self, books: Books, connection: sa.Connection) -> None:
        for org, oracle in self.oracles.items():
            if oracle.paid or oracle.gifts or oracle.uses:
                right = (oracle.total(), oracle.total(), oracle.wallet(), oracle.left_of_gifts())
                assert books.state(connection, org, self.now_ms) == right

    def _check_past(self, connection: sa.Connection, seen: Iterable[tuple[str, int, int]]) -> None:
        for org, at_ms, micros in seen:
            assert balance_as_of(connection, org, at_ms) == micros, (org, at_ms)

    def _check_usage(self, connection: sa.Connection) -> None:
        """Sums of usage by scope, now and by the last midnights, which budgets rest on."""
        midnight_ms = self.now_ms // DAY_MS * DAY_MS
        close_days(connection, self.now_ms)
        for meter in list_meters(connection):
            mine = [use for org, use in self.old_uses if org == meter.organization and _counts(meter.scope, use)]
            assert meter.used_units(self.now_ms) == _units(mine, self.now_ms), meter.scope
            for at_ms in (midnight_ms, midnight_ms - DAY_MS)[: 1 + self.step % 2]:
                assert used_by_midnight(connection, meter.scope, at_ms) == _units(mine, at_ms), (meter.scope, at_ms)

    def teardown(self) -> None:
        try:
            self.books.close_day(self.now_ms, self.now_ms)
            for books in self.both:
                with books.engine.begin() as connection:
                    self._check_balances(books, connection)
                    check_books(connection, self.now_ms)
                    self._check_past(connection, self.seen)
        finally:
            for books in self.both:
                books.close()


def _units(uses: Iterable[Use], at_ms: int) -> int:
    """What they have used by an instant; a unit is a micro-credit per hour for a millisecond."""
    return sum(u.rate * max(0, (at_ms if u.to_ms is None else min(u.to_ms, at_ms)) - u.from_ms) for u in uses)


def _counts(scope: str, use: Use) -> bool:
    team, person = use.tags
    kinds = {
        "": "",
        "team": team,
        "person": person,
        "member": f"{team}/{person}",
        "class": UsageClass(*use.group).key(),
    }
    _, kind, name = (*scope.split("/", 2), "", "")[:3]
    return kinds[kind] == name


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=50 if _proving() else 30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="session")
def template_in_memory(sqlite_template):
    source = sqlite3.connect(sqlite_template)
    target = sqlite3.connect(":memory:", check_same_thread=False)
    source.backup(target)
    source.close()
    yield target
    target.close()


def run(new_books: Callable[[], Books], examples: int) -> None:
    machine = type("Machine", (MoneyMachine,), {"new_books": staticmethod(new_books)})
    run_state_machine_as_test(machine, settings=_settings(examples))


def _proving() -> bool:
    return settings.default.max_examples > 1000


@pytest.mark.hypothesis
def test_the_ledger_is_exact_whatever_happens_in_whatever_order(template_in_memory):
    run(sqlite_books(template_in_memory), int(os.environ.get("PROVE_RUNS", "10000")) if _proving() else 20)


@pytest.mark.hypothesis
def test_the_ledger_is_as_exact_on_postgresql(postgresql):
    run(postgresql_books(postgresql), int(os.environ.get("PROVE_RUNS", "100")) if _proving() else 2)
