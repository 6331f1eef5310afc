"""The bar on top of every page: whose credits, how much is left, how fast it goes, how long it lasts.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ...model.money import DAY_MS
from ...model.wire_credits import CreditsView
from .words import FAR_MS, Amount, Instant, amount, duration, instant, rate

LOW_MS = DAY_MS
"""From here on the bar warns: less than a day left (DESIGN §5, hourly notices from 24 h before)."""


@dataclass(frozen=True)
class Pill:
    """An organization's credits in one line.

    ``tone`` is empty, ``low`` (less than a day left) or ``below`` (under zero); ``warning`` says the same in
    words.  ``until`` is when running workspaces are paused, None when nothing is used up.
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
    tone, warning = "", ""
    if credits.balance_micros < 0:
        tone, warning = "below", "below zero"
    elif burning and end_ms is not None and end_ms - now_ms < LOW_MS:
        tone, warning = "low", f"only {duration(now_ms, end_ms)} left"
    elif credits.balance_micros == 0:
        tone, warning = "low", "no credits left"
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
        tone=tone,
        warning=warning,
    )
