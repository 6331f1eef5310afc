"""The bar on top of every page: whose credits, how much is left, how fast it goes, how long it lasts.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ...model.wire_credits import CreditsView
from .words import FAR_MS, Amount, Instant, amount, instant, rate


@dataclass(frozen=True)
class Pill:
    """An organization's credits in one line.

    ``tone`` is empty, ``low`` or ``below`` (under zero), ``warning`` the same in words (`model.standing`); ``until``
    is when running workspaces are paused, None when nothing is used up.
    """

    organization: str
    balance: Amount
    rate: Amount | None
    until: Instant | None
    tone: str
    warning: str


def ends_ms(credits: CreditsView) -> int | None:
    """When the credits no longer carry what they carry now: the pause, or zero where only storage is billed."""
    return credits.empty_ms if credits.pause_ms is None else credits.pause_ms


def pill(credits: CreditsView) -> Pill:
    """The line for one organization."""
    now_ms, end_ms = credits.at_ms, ends_ms(credits)
    burning = credits.rate_micros_per_hour > 0
    far = end_ms is None or end_ms <= now_ms or end_ms - now_ms > FAR_MS
    return Pill(
        organization=credits.organization,
        balance=amount(
            credits.balance_micros,
            credits.currency,
            rate_micros_per_hour=-credits.rate_micros_per_hour,
            at_ms=now_ms,
        ),
        rate=rate(credits.rate_micros_per_hour, credits.currency) if burning else None,
        until=instant(end_ms, now_ms) if burning and end_ms is not None and not far else None,
        tone="" if credits.tone == "fine" else credits.tone,
        warning=credits.warning,
    )
