"""Double entry: transactions of signed entries that sum to zero, and the balances they make.

An organization's prepaid credits are the account ``acme/credits``.  What comes in is booked against
``acme/payments`` or ``acme/opening``, what is used against ``acme/usage``.  Corrections are new transactions.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..model.errors import Conflict, VesslError
from .schema import balances, entries, idempotency_keys, transactions

CREDITS, PAYMENTS, OPENING, USAGE = "credits", "payments", "opening", "usage"


class UnbalancedTransaction(VesslError):
    """A transaction whose entries do not sum to zero was about to be booked; a programming error."""


@dataclass(frozen=True)
class Transaction:
    """One thing that happened to an organization's money, and who did it, why, and where it came from.

    ``at_ms`` is when it happened, ``recorded_ms`` when it was written down.  ``kind`` is ``opening``,
    ``top-up`` or ``usage``.
    """

    organization: str
    kind: str
    at_ms: int
    recorded_ms: int
    actor: str
    reason: str
    source: str
    team: str = ""
    person: str = ""
    workspace_id: str = ""
    span_id: str = ""
    from_ms: int | None = None
    to_ms: int | None = None
    rate_micros_per_hour: int | None = None


def account(organization: str, name: str) -> str:
    """The name of an organization's account."""
    return f"{organization}/{name}"


def post(connection: sa.Connection, transaction: Transaction, amounts: Mapping[str, int]) -> str:
    """Book one transaction and return its id.

    ``amounts`` maps account names (``credits``, ``usage`` …) to signed micro-credits and must sum to zero.
    The cached balance moves in the same database transaction.
    """
    if sum(amounts.values()) != 0:
        raise UnbalancedTransaction(f"{transaction.kind}: {dict(amounts)}")
    transaction_id = uuid.uuid4().hex
    organization = transaction.organization
    serial = connection.execute(
        transactions.insert().values(id=transaction_id, **vars(transaction)).returning(transactions.c.serial)
    ).scalar_one()
    connection.execute(
        entries.insert(),
        [
            {"transaction_serial": serial, "account": account(organization, name), "amount_micros": micros}
            for name, micros in amounts.items()
        ],
    )
    change = amounts.get(CREDITS, 0)
    updated = connection.execute(
        balances.update()
        .where(balances.c.organization == organization)
        .values(settled_micros=balances.c.settled_micros + change)
    )
    if not updated.rowcount:
        connection.execute(balances.insert().values(organization=organization, settled_micros=change))
    return transaction_id


def settled_micros(connection: sa.Connection, organization: str) -> int:
    """The booked balance of an organization's credits; 0 before its first transaction."""
    query = sa.select(balances.c.settled_micros).where(balances.c.organization == organization)
    return int(connection.execute(query).scalar() or 0)


def summed_micros(connection: sa.Connection, organization: str, name: str = CREDITS) -> int:
    """The balance of an account rebuilt from its entries, for audits."""
    query = sa.select(sa.func.coalesce(sa.func.sum(entries.c.amount_micros), 0))
    return int(connection.execute(query.where(entries.c.account == account(organization, name))).scalar_one())


def body_hash(body: Mapping[str, Any]) -> str:
    """A fingerprint of a command's body, independent of the order of its keys."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def remembered(connection: sa.Connection, key: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer that was given to this key before, None when it is new.

    Raises `Conflict` when the key was used for another body: DESIGN §5, same key + other body = error.
    """
    query = sa.select(idempotency_keys).where(idempotency_keys.c.key == key)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row.body_hash != body_hash(body):
        raise Conflict(
            "This reference was used before for something else, so nothing was recorded.",
            hint="Use a new reference.",
            field="reference",
        )
    answer: dict[str, Any] = json.loads(row.answer)
    return answer


def remember(
    connection: sa.Connection, key: str, body: Mapping[str, Any], answer: Mapping[str, Any], now_ms: int
) -> None:
    """Keep the answer to a key, in the transaction that did what it says."""
    connection.execute(
        idempotency_keys.insert().values(key=key, body_hash=body_hash(body), answer=json.dumps(answer), at_ms=now_ms)
    )
