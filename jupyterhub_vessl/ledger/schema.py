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
    sa.Column("serial", Serial, primary_key=True, autoincrement=False),
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
    sa.Column("item", Name, nullable=False),
    sa.Column("corrects", Id, nullable=False),
    sa.Column("amount_micros", sa.BigInteger, nullable=False),
    sa.Column("balance_micros", sa.BigInteger, nullable=False),
    sa.Index(None, "organization", "serial"),
    sa.Index(None, "organization", "at_ms", "amount_micros"),
    sa.Index(None, "workspace_id"),
)
"""``amount_micros`` is what the transaction adds to the organization's credits (wallet and grants together),
``balance_micros`` the sum of those so far, in the order of ``serial``; an audit derives both from the entries.
Serials are given by the writer, of which there is one."""

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("transaction_serial", sa.ForeignKey("transactions.serial"), primary_key=True),
    sa.Column("line", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("account", Name, nullable=False),
    sa.Column("amount_micros", sa.BigInteger, nullable=False),
    sa.Index(None, "account", "amount_micros"),
    sqlite_with_rowid=False,
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
    sa.Column("granted_micros", sa.BigInteger, nullable=False),
    sa.Column("funded_ms", sa.BigInteger, nullable=False),
)
"""A cache, kept in the same transaction as the entries it sums up: all of an organization's credits, and the
part of them that is in grants.  ``funded_ms`` is the instant up to which usage was drawn from grants; 0 when
there is no live grant."""

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
    sa.Column("item", Name, nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Index(None, "organization", "ended_ms"),
    sa.Index(None, "admission_id"),
)
"""``item`` is the resource spec of compute, and ``workspace`` or ``cluster/datasets`` of storage.  What it cost until
``settled_ms``, from its start and at its rate, is booked."""

meters = sa.Table(
    "meters",
    metadata,
    sa.Column("scope", sa.String(600), primary_key=True),
    sa.Column("organization", Name, nullable=False, index=True),
    sa.Column("workspaces", sa.Integer, nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("storage_bytes", sa.BigInteger, nullable=False),
    sa.Column("open_spans", sa.Integer, nullable=False),
    sa.Column("open_settled_micros", sa.BigInteger, nullable=False),
    sa.Column("rate_micros_per_hour", sa.BigInteger, nullable=False),
    sa.Column("open_micros", sa.BigInteger, nullable=False),
    sa.Column("open_rest", sa.BigInteger, nullable=False),
    sa.Column("closed_micros", sa.BigInteger, nullable=False),
    sa.Column("closed_rest", sa.BigInteger, nullable=False),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
)
"""A cache: sums over the spans of a scope (`ledger.meters`), so that no question needs all spans."""

closings = sa.Table(
    "closings",
    metadata,
    sa.Column("scope", sa.String(600), primary_key=True),
    sa.Column("at_ms", sa.BigInteger, primary_key=True),
    sa.Column("used_micros", sa.BigInteger, nullable=False),
    sa.Column("used_rest", sa.BigInteger, nullable=False),
)
"""What a scope had used in all at the end of a UTC day on which it used anything."""

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value_ms", sa.BigInteger, nullable=False),
)
"""Instants up to which something was done: ``closed`` is the last UTC midnight that has closings, ``meters`` when
meters were made, ``alive`` what older books knew of when everything was last alive."""

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("admission_id", Id, primary_key=True),
    sa.Column("organization", Name, nullable=False),
    sa.Column("team", Name, nullable=False),
    sa.Column("person", Name, nullable=False),
    sa.Column("amount_micros", sa.BigInteger, nullable=False),
    sa.Column("rate_micros_per_hour", sa.BigInteger, nullable=False),
    sa.Column("started_ms", sa.BigInteger),
    sa.Column("until_ms", sa.BigInteger),
    sa.Index(None, "organization", "until_ms"),
)
"""Credits that a start has reserved; released as its compute accrues, so gone at ``until_ms``."""

grants = sa.Table(
    "grants",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("organization", Name, nullable=False, index=True),
    sa.Column("title", Name, nullable=False),
    sa.Column("actor", Name, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("amount_micros", sa.BigInteger, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("effective_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger),
    sa.Column("applies", sa.Text, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("ended_ms", sa.BigInteger),
    sa.Column("drawn_micros", sa.BigInteger, nullable=False),
    sa.Column("drawn_rest", sa.BigInteger, nullable=False),
    sa.Column("booked_micros", sa.BigInteger, nullable=False),
)
"""Promotional credits.  ``state`` is scheduled, live, used, expired or voided; ``drawn`` is exact, ``booked``
what of it the entries have so far."""

cycles = sa.Table(
    "cycles",
    metadata,
    sa.Column("organization", Name, primary_key=True),
    sa.Column("exhausted_ms", sa.BigInteger),
    sa.Column("hourly_ms", sa.BigInteger),
    sa.Column("told", sa.Text, nullable=False),
)
"""Where an organization is in running out of credits: since when it is exhausted, when people were last told
how long it lasts, and which notices they had already (JSON list)."""

budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("scope", sa.String(600), primary_key=True),
    sa.Column("organization", Name, nullable=False, index=True),
    sa.Column("limits", sa.Text, nullable=False),
    sa.Column("actor", Name, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)
"""Limits that managers and admins set on the page, beside those of the offer; the most restrictive wins."""

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("organization", Name, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_ms", sa.BigInteger, nullable=False),
    sa.Column("done_ms", sa.BigInteger),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Index(None, "done_ms", "next_ms"),
)
"""Notices on their way out of the house."""

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
    sa.Column("intent", sa.String(20), nullable=False, index=True),
    sa.Column("intent_message", sa.Text, nullable=False),
    sa.Column("addresses", sa.Text, nullable=False, server_default="{}"),
    sa.Index(None, "organization", "team"),
)
"""``slot`` is ``person/server_name`` while the workspace lives and NULL once terminated, so that the hub's
server name can be used again for a new workspace with a new id.  ``intent`` is what has been decided and is
yet to be carried out: empty, ``pause``, ``exhaust`` or ``terminate``.  ``addresses`` says, as JSON, where its
``tcp`` ports are reached."""

admissions = sa.Table(
    "admissions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("workspace_id", sa.ForeignKey("workspaces.id"), nullable=False, index=True),
    sa.Column("key", sa.String(64), nullable=False, unique=True),
    sa.Column("cluster", Name, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("ready_ms", sa.BigInteger),
    sa.Column("ended_ms", sa.BigInteger),
    sa.Column("end_reason", sa.String(20), nullable=False),
    sa.Index(None, "ended_ms"),
)

volumes = sa.Table(
    "volumes",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("slot", sa.String(600), unique=True),
    sa.Column("organization", Name, nullable=False),
    sa.Column("name", Name, nullable=False),
    sa.Column("title", Name, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("cluster", Name, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("teams", sa.Text, nullable=False),
    sa.Column("mount_path", Name, nullable=False),
    sa.Column("claim", Name, nullable=False),
    sa.Column("adopted", sa.Boolean, nullable=False),
    sa.Column("declared", sa.Boolean, nullable=False),
    sa.Column("created_by", Name, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("backing", sa.String(20), nullable=False),
    sa.Column("seen_on", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("ended_ms", sa.BigInteger),
    sa.Index(None, "organization", "name"),
)
"""The storage registry.  ``slot`` is ``organization/name`` while a volume lives and NULL once it has ended, so that
the name can be used again for a new volume with a new id.  ``teams`` is what each may do (JSON, in the order in
which they pay), ``seen_on`` the clusters that have had it (JSON list), ``request`` what was asked for at its
creation, empty for a volume of vessl.yaml.  One of those that has ended was let go: its files are kept."""

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
