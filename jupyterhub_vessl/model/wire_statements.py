"""What travels over the REST API about statements and audits.

See `model.wire` for what holds for all of it.
"""

from __future__ import annotations

from .wire_base import Outbound


class StatementLine(Outbound):
    """What moved the credits, summed by kind, item, team, user and workspace.

    ``amount_micros`` is signed: top-ups positive, usage negative.  Of usage, ``used_ms`` is how long it was used,
    exactly; ``hours`` and, of storage, ``gib_hours`` are the same as decimals, rounded to six places.
    """

    kind: str
    item: str = ""
    team: str = ""
    user: str = ""
    workspace_id: str = ""
    workspace_title: str = ""
    amount_micros: int
    used_ms: int | None = None
    hours: str | None = None
    gib_hours: str | None = None


class StatementTotal(Outbound):
    """All lines of one kind together."""

    kind: str
    amount_micros: int


class Statement(Outbound):
    """Opening + lines = closing, to the micro-credit, over [``from_ms``, ``to_ms``).

    Of a team, a user or a workspace, and where a person sees only a part (``narrowed``), opening and closing are
    what had been used until then: zero or less.  ``unbooked_micros`` is the part of the lines that is not in the
    ledger yet, of usage that still runs; ``to_ms`` is never after ``at_ms``, which is now.
    """

    organization: str
    currency: str
    team: str = ""
    user: str = ""
    workspace_id: str = ""
    narrowed: bool = False
    from_ms: int
    to_ms: int
    opening_micros: int
    closing_micros: int
    lines: tuple[StatementLine, ...]
    totals: tuple[StatementTotal, ...]
    unbooked_micros: int = 0
    at_ms: int


class AuditDifference(Outbound):
    """Something that is recorded and is not what follows from the books.  Money in micro-credits."""

    what: str
    expected: int
    found: int


class AuditView(Outbound):
    """An organization's books, made again from their entries and compared.

    ``balances_micros`` are the balances of its accounts, without the organization's name before them; with both
    sides of every transaction in them they sum to 0.
    """

    organization: str
    currency: str
    ok: bool
    transactions: int
    balances_micros: dict[str, int]
    differences: tuple[AuditDifference, ...]
    at_ms: int
