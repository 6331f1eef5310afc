"""Meters, grants, holds, budgets, closings and notices; entries in the order of their transactions."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

APPEND_ONLY = ("transactions", "entries")


def _refuse_changes(table: str) -> None:
    for verb in ("update", "delete"):
        if op.get_bind().dialect.name == "sqlite":
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        else:
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
            )


def _allow_changes(table: str) -> None:
    for verb in ("update", "delete"):
        on = "" if op.get_bind().dialect.name == "sqlite" else f" ON {table}"
        op.execute(f"DROP TRIGGER {table}_no_{verb}{on}")


def _transactions() -> None:
    """Every transaction says what it changed and what the balance was after it."""
    op.add_column("transactions", sa.Column("item", sa.String(255), nullable=False, server_default=""))
    op.add_column("transactions", sa.Column("corrects", sa.String(40), nullable=False, server_default=""))
    for name in ("amount_micros", "balance_micros"):
        op.add_column("transactions", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE transactions SET amount_micros = COALESCE((SELECT CAST(SUM(e.amount_micros) AS BIGINT) FROM entries e "
        "WHERE e.transaction_serial = transactions.serial AND e.account = transactions.organization || '/credits'), 0)"
    )
    op.execute(
        "UPDATE transactions SET balance_micros = (SELECT CAST(SUM(t.amount_micros) AS BIGINT) FROM transactions t "
        "WHERE t.organization = transactions.organization AND t.serial <= transactions.serial)"
    )
    op.create_index(
        op.f("ix_transactions_organization_at_ms_amount_micros"),
        "transactions",
        ["organization", "at_ms", "amount_micros"],
    )


def _entries() -> None:
    op.execute(
        "CREATE TABLE entries_before AS SELECT transaction_serial, account, amount_micros, "
        "ROW_NUMBER() OVER (PARTITION BY transaction_serial ORDER BY serial) - 1 AS line FROM entries"
    )
    op.drop_table("entries")
    op.create_table(
        "entries",
        sa.Column("transaction_serial", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account", sa.String(255), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction_serial"], ["transactions.serial"], name=op.f("fk_entries_transaction_serial_transactions")
        ),
        sa.PrimaryKeyConstraint("transaction_serial", "line", name=op.f("pk_entries")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO entries (transaction_serial, line, account, amount_micros) "
        "SELECT transaction_serial, line, account, amount_micros FROM entries_before"
    )
    op.execute("DROP TABLE entries_before")
    op.create_index(op.f("ix_entries_account_amount_micros"), "entries", ["account", "amount_micros"])


def _spans() -> None:
    with op.batch_alter_table("spans") as batch:
        batch.drop_constraint("uq_spans_admission_id_kind", type_="unique")
        batch.drop_column("settled_micros")
        batch.add_column(sa.Column("item", sa.String(255), nullable=False, server_default=""))
        batch.add_column(sa.Column("gpus", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("size_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index(op.f("ix_spans_admission_id"), "spans", ["admission_id"])
    op.add_column("admissions", sa.Column("cluster", sa.String(255), nullable=False, server_default=""))
    connection = op.get_bind()
    for admission_id, text in connection.execute(sa.text("SELECT id, plan FROM admissions")).all():
        plan = json.loads(text)
        home = next((m for m in plan["mounts"] if m["kind"] == "workspace"), {"size_bytes": 0})
        values = {
            "admission": admission_id,
            "cluster": plan["cluster"],
            "spec": plan["spec"]["name"],
            "gpus": plan["spec"]["gpu_count"],
            "size": home["size_bytes"],
        }
        connection.execute(sa.text("UPDATE admissions SET cluster = :cluster WHERE id = :admission"), values)
        connection.execute(
            sa.text("UPDATE spans SET item = :spec, gpus = :gpus WHERE admission_id = :admission AND kind = 'compute'"),
            values,
        )
        connection.execute(
            sa.text(
                "UPDATE spans SET item = 'workspace', size_bytes = :size "
                "WHERE admission_id = :admission AND kind = 'storage'"
            ),
            values,
        )


NAME, BIG, INTEGER, TEXT = sa.String(255), sa.BigInteger(), sa.Integer(), sa.Text()


def _column(title: str, kind: Any, nullable: bool = False) -> Any:
    return sa.Column(title, kind, nullable=nullable)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _tables_of_usage() -> None:
    op.create_table(
        "meters",
        _column("scope", sa.String(600)),
        _column("organization", NAME),
        *(_column(title, INTEGER) for title in ("workspaces", "gpus")),
        _column("storage_bytes", BIG),
        _column("open_spans", INTEGER),
        *(
            _column(title, BIG)
            for title in (
                "open_settled_micros",
                "rate_micros_per_hour",
                "open_micros",
                "open_rest",
                "closed_micros",
                "closed_rest",
                "changed_ms",
            )
        ),
        _key("meters", "scope"),
    )
    op.create_index(op.f("ix_meters_organization"), "meters", ["organization"])
    op.create_table(
        "closings",
        _column("scope", sa.String(600)),
        *(_column(title, BIG) for title in ("at_ms", "used_micros", "used_rest")),
        _key("closings", "scope", "at_ms"),
    )
    op.create_table("marks", _column("name", sa.String(40)), _column("value_ms", BIG), _key("marks", "name"))
    op.create_table(
        "holds",
        _column("admission_id", sa.String(40)),
        *(_column(title, NAME) for title in ("organization", "team", "person")),
        *(_column(title, BIG) for title in ("amount_micros", "rate_micros_per_hour")),
        *(_column(title, BIG, nullable=True) for title in ("started_ms", "until_ms")),
        _key("holds", "admission_id"),
    )
    op.create_index(op.f("ix_holds_organization_until_ms"), "holds", ["organization", "until_ms"])


def _tables_of_credits() -> None:
    op.create_table(
        "grants",
        _column("id", sa.String(40)),
        _column("number", BIG),
        *(_column(title, NAME) for title in ("organization", "title", "actor")),
        *(_column(title, BIG) for title in ("created_ms", "amount_micros")),
        _column("priority", INTEGER),
        _column("effective_ms", BIG),
        _column("expires_ms", BIG, nullable=True),
        _column("applies", TEXT),
        _column("state", sa.String(20)),
        _column("ended_ms", BIG, nullable=True),
        *(_column(title, BIG) for title in ("drawn_micros", "drawn_rest", "booked_micros")),
        _key("grants", "id"),
        sa.UniqueConstraint("number", name=op.f("uq_grants_number")),
    )
    op.create_index(op.f("ix_grants_organization"), "grants", ["organization"])
    op.create_table(
        "cycles",
        _column("organization", NAME),
        *(_column(title, BIG, nullable=True) for title in ("exhausted_ms", "hourly_ms")),
        _column("told", TEXT),
        _key("cycles", "organization"),
    )
    op.create_table(
        "budgets",
        _column("scope", sa.String(600)),
        _column("organization", NAME),
        _column("limits", TEXT),
        _column("actor", NAME),
        _column("at_ms", BIG),
        _key("budgets", "scope"),
    )
    op.create_index(op.f("ix_budgets_organization"), "budgets", ["organization"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        _column("organization", NAME),
        _column("at_ms", BIG),
        _column("kind", sa.String(40)),
        *(_column(title, TEXT) for title in ("title", "body", "target")),
        _column("attempts", INTEGER),
        _column("next_ms", BIG),
        _column("done_ms", BIG, nullable=True),
        _column("outcome", TEXT),
        _key("outbox", "id"),
    )
    op.create_index(op.f("ix_outbox_done_ms_next_ms"), "outbox", ["done_ms", "next_ms"])


def _say_which_kind_of_error() -> None:
    """PostgreSQL: an attempt to change what was booked is a violation of integrity, as it is with SQLite."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute(
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME "
            "USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )


def upgrade() -> None:
    _say_which_kind_of_error()
    for table in APPEND_ONLY:
        _allow_changes(table)
    _transactions()
    _entries()
    _spans()
    op.add_column("balances", sa.Column("granted_micros", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("balances", sa.Column("funded_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index(op.f("ix_workspaces_intent"), "workspaces", ["intent"])
    _tables_of_usage()
    _tables_of_credits()
    op.execute("INSERT INTO marks (name, value_ms) SELECT 'alive', alive_ms FROM sightings")
    op.drop_table("sightings")
    for table in APPEND_ONLY:
        _refuse_changes(table)
