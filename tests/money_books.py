"""The real ledger in one database, told in commands, for what drives it side by side with an oracle."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from money_oracle import Gift, Use

from jupyterhub_vessl.ledger import funding
from jupyterhub_vessl.ledger.audit import audit, audit_usage
from jupyterhub_vessl.ledger.database import open_engine
from jupyterhub_vessl.ledger.history import balance_as_of
from jupyterhub_vessl.ledger.meters import close_days, organizations_with_meters
from jupyterhub_vessl.ledger.postings import CREDITS, PAYMENTS, Transaction, post
from jupyterhub_vessl.ledger.spans import close_spans, open_span, settle
from jupyterhub_vessl.model.funds import Applies

SPECS = {"cpu-small": 0, "cpu-large": 0, "h100-1": 1, "h100-8": 8}
"""How many GPUs each resource spec has."""


class Books:
    """The real ledger in one database, told in commands."""

    def __init__(
        self, engine: sa.Engine, reopen: Callable[[sa.Engine], sa.Engine], close: Callable[[sa.Engine], None]
    ) -> None:
        self.engine, self._reopen, self._close = engine, reopen, close

    def restart(self) -> None:
        self.engine = self._reopen(self.engine)

    def close(self) -> None:
        self._close(self.engine)

    def do(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with self.engine.begin() as connection:
            return work(connection, *arguments, **options)

    def pay(self, organization: str, micros: int, now_ms: int) -> None:
        kind = "top-up" if micros > 0 else "refund"
        paid = Transaction(organization, kind, now_ms, now_ms, "ada", "invoice", "reference")
        self.do(post, paid, {CREDITS: micros, PAYMENTS: -micros})

    def open(self, organization: str, name: str, use: Use) -> None:
        team, person = use.tags
        self.do(
            open_span,
            organization=organization,
            team=team,
            person=person,
            workspace_id=name.split(":")[0],
            admission_id=name,
            kind=use.kind,
            rate_micros_per_hour=use.rate,
            started_ms=use.from_ms,
            item=use.item,
            gpus=SPECS.get(use.item, 0),
        )

    def end(self, name: str, kind: str, at_ms: int, now_ms: int) -> None:
        self.do(close_spans, name, kind, at_ms=at_ms, now_ms=now_ms, actor="service", reason="user")

    def give(self, organization: str, gift: Gift, now_ms: int) -> None:
        narrowed = {"kind": gift.kind, "gpu": gift.gpu, "specs": gift.specs}
        grant = funding.Grant(
            id=f"g{gift.number}",
            number=gift.number,
            organization=organization,
            title="Welcome",
            actor="ada",
            created_ms=now_ms,
            amount_micros=gift.amount,
            priority=gift.priority,
            effective_ms=gift.from_ms,
            expires_ms=gift.expires_ms,
            applies=Applies(**narrowed),
            state=funding.SCHEDULED,
            ended_ms=None,
            drawn_units=0,
            booked_micros=0,
        )
        self.do(funding.insert_grant, grant, now_ms)

    def void(self, organization: str, number: int, now_ms: int) -> None:
        with self.engine.begin() as connection:
            funding.advance(connection, organization, now_ms)
            grant = next(g for g in funding.list_grants(connection, organization) if g.number == number)
            if grant.state == funding.LIVE:
                funding.end_grant(connection, grant, funding.VOIDED, now_ms, now_ms, "ada", "taken back")
            elif grant.state == funding.SCHEDULED:
                funding.drop_scheduled(connection, grant, now_ms)

    def close_day(self, now_ms: int, at_ms: int) -> None:
        """What the service does after midnight, and what it could do at any time."""
        self.do(close_days, now_ms)
        for organization in self.do(organizations_with_meters):
            self.do(settle, organization, at_ms, now_ms)
            self.do(funding.advance, organization, now_ms)
            self.do(funding.book_draws, organization, now_ms, now_ms)

    def state(self, connection: sa.Connection, organization: str, now_ms: int) -> tuple[int, int, int, dict[int, int]]:
        """(balance as of now, balance, wallet, what is left of each grant)."""
        state = funding.credit_state(connection, organization, "USD", now_ms, exact=True)
        left = {fund.number: fund.left_micros for fund in state.funds}
        as_of = balance_as_of(connection, organization, now_ms)
        line = replace(state.total, spent=None)
        assert abs(line.micros(now_ms) - state.balance_micros(now_ms)) <= line.usage.spans / 2 + 1
        return as_of, state.balance_micros(now_ms), state.wallet.micros(now_ms), left


def check_books(connection: sa.Connection, now_ms: int) -> None:
    """The audits find nothing, and all accounts together are 0."""
    report = audit(connection)
    assert report.differences == ()
    assert report.sum_micros == 0
    assert audit_usage(connection, now_ms) == ()


# -- databases ---------------------------------------------------------------------


def sqlite_books(template: sqlite3.Connection) -> Callable[[], Books]:
    """Databases in memory, each a copy of a template; a restart is a new connection to a copy of what was there.

    Engines are used again by later books, because each compiles its statements anew and keeps them.
    """
    idle: list[sa.Engine] = []

    def copy(source: sqlite3.Connection) -> sqlite3.Connection:
        target = sqlite3.connect(":memory:", check_same_thread=False)
        source.backup(target)
        return target

    def open_on(engine: sa.Engine, database: sqlite3.Connection) -> sa.Engine:
        engine.dispose()
        databases[engine] = database
        return engine

    def reopen(engine: sa.Engine) -> sa.Engine:
        return open_on(engine, copy(databases[engine]))

    def close(engine: sa.Engine) -> None:
        engine.dispose()
        idle.append(engine)

    def new_books() -> Books:
        if not idle:
            engine = open_engine("sqlite://")
            sa.event.listen(engine, "do_connect", lambda *_: databases[engine])
            idle.append(engine)
        return Books(open_on(idle.pop(), copy(template)), reopen, close)

    databases: dict[sa.Engine, sqlite3.Connection] = {}
    return new_books


def postgresql_books(server: Any) -> Callable[[], Books]:
    """Each a database of its own on a real server."""

    def reopen(engine: sa.Engine) -> sa.Engine:
        engine.dispose()
        return open_engine(engine.url.render_as_string(hide_password=False))

    return lambda: Books(open_engine(server.url(server.new_database())), reopen, sa.Engine.dispose)
