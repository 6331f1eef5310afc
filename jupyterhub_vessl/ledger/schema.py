"""The tables.  Times are UTC milliseconds, money is micro-credits; both are 64-bit integers.

``transactions`` and ``entries`` are append-only: triggers refuse to change or delete them, whoever asks.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = sa.String(40)
Name = sa.String(255)
Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")

transactions = sa.Table(
    "transactions",
    metadata,
    sa.Column("serial", Serial, primary_key=True, autoincrement=True),
    sa.Column("id", Id, nullable=False, unique=True),
    sa.Column("organization", Name, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("recorded_ms", sa.BigInteger, nullable=False),
    sa.Column("actor", Name, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("source", Name, nullable=False),
    sa.Column("team", Name, nullable=False),
    sa.Column("person", Name, nullable=False),
    sa.Column("workspace_id", Id, nullable=False),
    sa.Column("span_id", Id, nullable=False),
    sa.Column("from_ms", sa.BigInteger),
    sa.Column("to_ms", sa.BigInteger),
    sa.Column("rate_micros_per_hour", sa.BigInteger),
    sa.Index(None, "organization", "serial"),
    sa.Index(None, "workspace_id"),
)

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("serial", Serial, primary_key=True, autoincrement=True),
    sa.Column("transaction_serial", sa.ForeignKey("transactions.serial"), nullable=False, index=True),
    sa.Column("account", Name, nullable=False, index=True),
    sa.Column("amount_micros", sa.BigInteger, nullable=False),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("key", sa.String(300), primary_key=True),
    sa.Column("body_hash", sa.String(64), nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)

balances = sa.Table(
    "balances",
    metadata,
    sa.Column("organization", Name, primary_key=True),
    sa.Column("settled_micros", sa.BigInteger, nullable=False),
)
"""A cache: the sum of the entries of the organization's credits account, kept in the same transaction."""

spans = sa.Table(
    "spans",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization", Name, nullable=False),
    sa.Column("team", Name, nullable=False),
    sa.Column("person", Name, nullable=False),
    sa.Column("workspace_id", Id, nullable=False, index=True),
    sa.Column("admission_id", Id, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("rate_micros_per_hour", sa.BigInteger, nullable=False),
    sa.Column("started_ms", sa.BigInteger, nullable=False),
    sa.Column("ended_ms", sa.BigInteger),
    sa.Column("end_reason", sa.String(20), nullable=False),
    sa.Column("settled_ms", sa.BigInteger, nullable=False),
    sa.Column("settled_micros", sa.BigInteger, nullable=False),
    sa.Index(None, "organization", "ended_ms"),
    sa.UniqueConstraint("admission_id", "kind"),
)

workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("slot", sa.String(600), unique=True),
    sa.Column("person", Name, nullable=False, index=True),
    sa.Column("server_name", Name, nullable=False),
    sa.Column("title", Name, nullable=False),
    sa.Column("organization", Name, nullable=False),
    sa.Column("team", Name, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("isolation", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("admission_id", Id, nullable=False),
    sa.Column("intent", sa.String(20), nullable=False),
    sa.Column("intent_message", sa.Text, nullable=False),
    sa.Index(None, "organization", "team"),
)
"""``slot`` is ``person/server_name`` while the workspace lives and NULL once terminated, so that the hub's
server name can be used again for a new workspace with a new id.  ``intent`` is what has been decided and is
yet to be carried out: empty, ``pause``, ``exhaust`` or ``terminate``."""

admissions = sa.Table(
    "admissions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("workspace_id", sa.ForeignKey("workspaces.id"), nullable=False, index=True),
    sa.Column("key", sa.String(64), nullable=False, unique=True),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("ready_ms", sa.BigInteger),
    sa.Column("ended_ms", sa.BigInteger),
    sa.Column("end_reason", sa.String(20), nullable=False),
    sa.Index(None, "ended_ms"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("actor", Name, nullable=False),
    sa.Column("organization", Name, nullable=False),
    sa.Column("team", Name, nullable=False),
    sa.Column("person", Name, nullable=False),
    sa.Column("workspace_id", Id, nullable=False),
    sa.Index(None, "organization", "id"),
    sa.Index(None, "workspace_id", "id"),
)

sightings = sa.Table(
    "sightings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("alive_ms", sa.BigInteger, nullable=False),
)
"""One row: when all workspaces with an open span were last seen alive.  A crash of everything at once is
billed to this instant, not to the restart."""
