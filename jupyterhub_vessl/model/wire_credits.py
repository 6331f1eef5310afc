"""What travels over the REST API about money: balances, ledger, top-ups, grants, budgets, statements.

See `model.wire` for the rest, and for what holds for all of it.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Annotated

from pydantic import BeforeValidator, Field

from .errors import BadInput
from .funds import PRIORITY_MAX, Applies
from .limits import Limits
from .money import DAY_MS, parse_credit_micros
from .standing import Tone
from .text import check_plain_text
from .units import parse_size_bytes
from .wire_base import NAME_CHARACTERS_MAX, Inbound, Outbound


class GrantView(Outbound):
    """Promotional credits.  ``state`` is scheduled, live, used, expired or voided.

    Of a live one ``left_micros`` is what it still has; of one that ended, what was left unused at its end.
    """

    id: str
    number: int
    title: str
    amount_micros: int
    left_micros: int
    priority: int
    effective_ms: int
    expires_ms: int | None
    ended_ms: int | None
    applies: Applies
    state: str
    actor: str
    created_ms: int


class CreditsView(Outbound):
    """An organization's credits at ``at_ms``.

    Attributes
    ----------
    balance_micros
        Everything that is left: ``wallet_micros`` of paid credits, and what live grants still have.
    empty_ms, pause_ms, terminate_ms
        When the balance reaches zero, when running workspaces are paused, and when those that were paused for
        want of credits are terminated; None when that does not happen at the present rate.
    tone, warning
        How they stand in a word, and the same for people; see `model.standing`.
    grants
        Live grants in the order in which they are used up, and scheduled ones.
    """

    organization: str
    title: str
    currency: str
    contact: str
    balance_micros: int
    tone: Tone = "fine"
    warning: str = ""
    wallet_micros: int = 0
    rate_micros_per_hour: int
    buffer_micros: int
    minimum_top_up_micros: int
    empty_ms: int | None
    pause_ms: int | None
    terminate_ms: int | None = None
    policy: str = "buffer"
    dry_run: bool = False
    grants: tuple[GrantView, ...] = ()
    at_ms: int


class BalanceAt(Outbound):
    """An organization's balance at a past instant."""

    organization: str
    currency: str
    balance_micros: int
    at_ms: int


class GrantList(Outbound):
    """Grants, the newest first."""

    grants: tuple[GrantView, ...]
    currency: str
    at_ms: int


class LedgerLine(Outbound):
    """One movement of an organization's credits, newest first.

    ``amount_micros`` is signed: top-ups positive, usage negative.  ``open`` marks usage that still runs.
    ``at_ms`` is when it happened, ``recorded_ms`` when it was written down.
    """

    id: str
    at_ms: int
    recorded_ms: int = 0
    kind: str
    amount_micros: int
    balance_micros: int | None = None
    actor: str
    reason: str
    source: str = ""
    item: str = ""
    team: str = ""
    user: str = ""
    workspace_id: str = ""
    workspace_title: str = ""
    from_ms: int | None = None
    to_ms: int | None = None
    rate_micros_per_hour: int | None = None
    open: bool = False


class LedgerPage(Outbound):
    """Movements; ``next`` is the cursor of the following page, None on the last."""

    lines: tuple[LedgerLine, ...]
    next: str | None = None
    at_ms: int


_CURRENCY = re.compile("[A-Z]{3}")

# -- commands ------------------------------------------------------------------


def _amount(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError('write an amount such as "20" or "12.50"')
    return str(value)[:64]


def _reference(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write a reference as text")
    return check_plain_text(value, characters_max=120)


INSTANT_MS_MAX = 4_102_444_800_000 + 2 * DAY_MS


def _given_reference(value: object) -> str:
    text = _reference(value)
    if not text:
        raise ValueError("write a reference, such as the number of the invoice")
    return text


def _currency(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise ValueError("write a currency as three capital letters, such as USD")
    return value


def _person_or_team(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write a name as text")
    name = check_plain_text(value, characters_max=NAME_CHARACTERS_MAX)
    if "/" in name:
        raise ValueError("a name has no /")
    return name


def _instant_ms(value: object) -> int | None:
    """``2026-12-31`` or ``2026-12-31T18:00:00Z`` → UTC milliseconds; a whole number is milliseconds already."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("write a date such as 2026-12-31, or 2026-12-31T18:00:00Z")
    if isinstance(value, int):
        moment_ms = value
    else:
        try:
            moment = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        except ValueError:
            raise ValueError("write a date such as 2026-12-31, or 2026-12-31T18:00:00Z") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        moment_ms = int(moment.timestamp()) * 1000
    # a day more than it says, because the last day of a range belongs to it
    if not 0 <= moment_ms < INSTANT_MS_MAX:
        raise ValueError("write a date between 1970 and 2099")
    return moment_ms


def parse_instant(text: str | None, field: str) -> int | None:
    """A date or instant of a query as UTC milliseconds, None when there is none; raises `BadInput`."""
    try:
        return _instant_ms(text)
    except ValueError as error:
        raise BadInput(f"{str(error)[:1].upper()}{str(error)[1:]}.", field=field) from None


Amount = Annotated[str, BeforeValidator(_amount)]
Text = Annotated[str, BeforeValidator(_reference)]
Instant = Annotated[int | None, BeforeValidator(_instant_ms)]
Reference = Annotated[str, BeforeValidator(_given_reference)]
Currency = Annotated[str | None, BeforeValidator(_currency)]
Name = Annotated[str, BeforeValidator(_person_or_team)]


class TopUpRequest(Inbound):
    """Credits that were paid for.  The same ``reference`` with the same body is recorded once.

    ``currency`` may be left out; given, it must be the organization's.
    """

    amount: Amount
    reference: Reference
    note: Text = ""
    currency: Currency = None


class TopUp(Outbound):
    """A recorded top-up and the balance after it."""

    id: str
    amount_micros: int
    at_ms: int
    credits: CreditsView


class RefundRequest(Inbound):
    """Give back a top-up, or a part of it.  ``top_up`` is the reference of the top-up, ``reference`` that of the
    refund."""

    top_up: Reference
    amount: Amount
    reference: Reference
    note: Text = ""
    currency: Currency = None


class GrantRequest(Inbound):
    """Promotional credits: from ``effective`` (now if left out) to ``expires`` (never if left out), for what
    ``applies`` says (everything if left out), used up in the order of ``priority``, the lowest first."""

    amount: Amount
    reference: Reference
    title: Text = ""
    priority: Annotated[int, Field(ge=0, le=PRIORITY_MAX, strict=True)] = 100
    effective: Instant = None
    expires: Instant = None
    applies: Applies = Applies()
    currency: Currency = None


class Granted(Outbound):
    """A recorded or voided grant, and the credits after it."""

    grant: GrantView
    credits: CreditsView


class VoidRequest(Inbound):
    """Take back what is left of a grant."""

    reason: Text = ""


# -- budgets -------------------------------------------------------------------


def _limit(value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        micros = parse_credit_micros(value)
    except BadInput as error:
        raise ValueError(error.message.rstrip(".")) from error
    if micros < 0:
        raise ValueError("a budget is 0 or more")
    return micros


def _count(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("write a whole number")
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value.strip()[:9])
    return None if value == "" else value


def _size(value: object) -> int | None:
    return None if value is None or value == "" else parse_size_bytes(value)


Count = Annotated[Annotated[int, Field(ge=0, le=1_000_000)] | None, BeforeValidator(_count)]


class BudgetRequest(Inbound):
    """The limits of a team, of a person (``user``), or of a person in a team; both empty: of the organization.

    ``day`` and ``month`` are credits, ``workspaces`` and ``gpus`` counts, ``storage`` a size such as ``500Gi``.
    What is left out or empty is not limited.
    """

    team: Name = ""
    user: Name = ""
    day: Annotated[int | None, BeforeValidator(_limit)] = None
    month: Annotated[int | None, BeforeValidator(_limit)] = None
    workspaces: Count = None
    gpus: Count = None
    storage: Annotated[int | None, BeforeValidator(_size)] = None

    def limits(self) -> Limits:
        """As the decisions take them."""
        return Limits.model_construct(
            day_micros=self.day,
            month_micros=self.month,
            workspaces=self.workspaces,
            gpus=self.gpus,
            storage_bytes=self.storage,
        )


class LimitsView(Outbound):
    """One set of limits; None where nothing is limited."""

    day_micros: int | None = None
    month_micros: int | None = None
    workspaces: int | None = None
    gpus: int | None = None
    storage_bytes: int | None = None


class UseView(Outbound):
    """What is used of limits now."""

    day_micros: int
    month_micros: int
    workspaces: int
    gpus: int
    storage_bytes: int


class BudgetView(Outbound):
    """The limits of one scope: ``offered`` by vessl.yaml, ``set`` on the page; the most restrictive wins."""

    team: str = ""
    user: str = ""
    title: str
    offered: LimitsView
    set: LimitsView
    use: UseView
    may_set: bool


class BudgetList(Outbound):
    """Budgets and caps, the organization's first."""

    budgets: tuple[BudgetView, ...]
    currency: str
    at_ms: int
