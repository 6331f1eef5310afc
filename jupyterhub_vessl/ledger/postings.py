"""Double entry: transactions of signed entries that sum to zero, and the balances they make.

An organization's prepaid credits are its wallet ``acme/credits`` and one account for each grant, such as
``acme/grant/7``.  What comes in is booked against ``acme/payments``, ``acme/opening`` or ``acme/promotions``,
what is used against ``acme/usage``, what expires against ``acme/breakage``.  Corrections are new transactions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..model.errors import Conflict, VesslError
from .prepared import Prepared
from .schema import balances, entries, idempotency_keys, transactions

CREDITS, PAYMENTS, OPENING, USAGE = "credits", "payments", "opening", "usage"
PROMOTIONS, BREAKAGE, GRANT = "promotions", "breakage", "grant/"
BATCH_ROWS = 5_000

_INSERT_TRANSACTION = Prepared(transactions.insert().values({c.name: sa.bindparam(c.name) for c in transactions.c}))
_INSERT_ENTRY = Prepared(entries.insert().values({c.name: sa.bindparam(c.name) for c in entries.c}))
_LAST_SERIAL = Prepared(sa.select(sa.func.coalesce(sa.func.max(transactions.c.serial), 0)))
_BALANCE = Prepared(
    sa.select(balances.c.settled_micros, balances.c.granted_micros, balances.c.funded_ms).where(
        balances.c.organization == sa.bindparam("of")
    )
)
_MOVE_BALANCE = Prepared(
    balances.update()
    .where(balances.c.organization == sa.bindparam("of"))
    .values(settled_micros=sa.bindparam("settled"), granted_micros=sa.bindparam("granted"))
)


class UnbalancedTransaction(VesslError):
    """A transaction whose entries do not sum to zero was about to be booked; a programming error."""


class Transaction(NamedTuple):
    """One thing that happened to an organization's money, and who did it, why, and where it came from.

    ``at_ms`` is when it happened, ``recorded_ms`` when it was written down.  ``kind`` is ``opening``,
    ``top-up``, ``refund``, ``grant``, ``draw``, ``expiry``, ``void``, ``usage`` or ``correction``.  ``item``
    is the resource spec, volume or grant that it is about, ``corrects`` the id of a transaction that it takes
    back.
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
    item: str = ""
    corrects: str = ""


def account(organization: str, name: str) -> str:
    """The name of an organization's account."""
    return f"{organization}/{name}"


def is_credit(name: str) -> bool:
    """Whether an account (without its organization) holds credits: the wallet and the grants."""
    return name == CREDITS or name.startswith(GRANT)


Posting = tuple[Transaction, Mapping[str, int]]
"""A transaction and its amounts: account names (``credits``, ``usage`` …) to signed micro-credits."""


def post(connection: sa.Connection, transaction: Transaction, amounts: Mapping[str, int]) -> str:
    """Book one transaction and return its id.

    ``amounts`` maps account names (``credits``, ``usage`` …) to signed micro-credits and must sum to zero.
    The cached balance moves in the same database transaction.
    """
    return post_many(connection, [(transaction, amounts)])[0]


def post_many(connection: sa.Connection, postings: Sequence[Posting]) -> list[str]:
    """Book transactions of one organization, in order, and return their ids.  See `post`."""
    if not postings:
        return []
    organization = postings[0][0].organization
    settled, granted = _balance(connection, organization)
    serial = int(_LAST_SERIAL.run(connection, {}).scalar_one())
    first = serial + 1
    accounts: dict[str, tuple[str, bool, bool]] = {}
    heads: list[tuple[Any, ...]] = []
    lines: list[tuple[Any, ...]] = []
    for transaction, amounts in postings:
        serial += 1
        change = together = 0
        for line, (name, micros) in enumerate(amounts.items()):
            if name not in accounts:
                accounts[name] = account(organization, name), is_credit(name), name.startswith(GRANT)
            full_name, credit, grant = accounts[name]
            together += micros
            change += micros if credit else 0
            granted += micros if grant else 0
            lines.append((serial, line, full_name, micros))
        if together or transaction.organization != organization:
            raise UnbalancedTransaction(f"{transaction.kind}: {dict(amounts)}")
        settled += change
        # ids in the order of booking, so that the index only grows at its end
        heads.append((serial, f"{serial:016x}", *transaction, change, settled))
        if len(heads) >= BATCH_ROWS:
            _write(connection, heads, lines)
    _write(connection, heads, lines)
    _MOVE_BALANCE.run(connection, {"of": organization, "settled": settled, "granted": granted})
    return [f"{number:016x}" for number in range(first, serial + 1)]


UsageRow = tuple[int, str, str, str, str, int, int, int, str]
"""Usage to be booked: (micro-credits, team, person, workspace id, span id, from, to, rate, item)."""


def post_usage(
    connection: sa.Connection,
    organization: str,
    used: Sequence[UsageRow],
    *,
    now_ms: int,
    actor: str,
    reason: str,
) -> None:
    """Book the usage of many spans of an organization, a transaction for each row.  The same as `post_many`, faster."""
    settled, granted = _balance(connection, organization)
    serial = int(_LAST_SERIAL.run(connection, {}).scalar_one())
    wallet, usage = account(organization, CREDITS), account(organization, USAGE)
    heads: list[tuple[Any, ...]] = []
    lines: list[tuple[Any, ...]] = []
    for micros, team, person, workspace_id, span_id, from_ms, to_ms, rate, item in used:
        serial += 1
        settled -= micros
        head = (serial, f"{serial:016x}", organization, "usage", to_ms, now_ms, actor, reason, "span", team, person)
        heads.append((*head, workspace_id, span_id, from_ms, to_ms, rate, item, "", -micros, settled))
        lines.append((serial, 0, wallet, -micros))
        lines.append((serial, 1, usage, micros))
        if len(heads) >= BATCH_ROWS:
            _write(connection, heads, lines)
    _write(connection, heads, lines)
    _MOVE_BALANCE.run(connection, {"of": organization, "settled": settled, "granted": granted})


def _write(connection: sa.Connection, heads: list[tuple[Any, ...]], lines: list[tuple[Any, ...]]) -> None:
    _INSERT_TRANSACTION.run_rows(connection, heads)
    _INSERT_ENTRY.run_rows(connection, lines)
    heads.clear()
    lines.clear()


def _balance(connection: sa.Connection, organization: str) -> tuple[int, int]:
    row = _BALANCE.run(connection, {"of": organization}).one_or_none()
    if row is None:
        connection.execute(
            balances.insert().values(organization=organization, settled_micros=0, granted_micros=0, funded_ms=0)
        )
        return 0, 0
    return int(row[0]), int(row[1])


def balance_row(connection: sa.Connection, organization: str) -> tuple[int, int, int]:
    """(all credits that are booked, those of them in grants, ``funded_ms``); zeros before the first transaction."""
    row = _BALANCE.run(connection, {"of": organization}).one_or_none()
    return (0, 0, 0) if row is None else (int(row[0]), int(row[1]), int(row[2]))


def settled_micros(connection: sa.Connection, organization: str) -> int:
    """The booked balance of an organization's credits, grants included; 0 before its first transaction."""
    return balance_row(connection, organization)[0]


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
