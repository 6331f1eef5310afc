"""What a choice costs and how long the credits last with it, in words.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from jupyterhub_vessl.model.balance import running_balance
from jupyterhub_vessl.model.credit import no_credits
from jupyterhub_vessl.model.money import DAY_MS, Accrual, format_credits, format_rate
from jupyterhub_vessl.model.units import format_duration
from jupyterhub_vessl.model.wire_credits import CreditsView

FAR_MS = 3650 * DAY_MS
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Amount:
    """Money to read, and its exact value for those who want to know."""

    text: str
    exact: str
    is_free: bool = False


@dataclass(frozen=True)
class Quote:
    """What one resource spec means for one organization's credits.

    Attributes
    ----------
    compute, now
        Price per hour of the spec, and of the whole workspace while it runs.
    until_iso, until, duration
        When running workspaces are paused if this one starts now; empty when ``instead`` says something else.
    instead
        A phrase in place of an instant: credits that do not run out, or none to start with.
    """

    compute: Amount
    now: Amount
    until_iso: str = ""
    until: str = ""
    duration: str = ""
    instead: str = ""


def amount(credit_micros: int, currency: str) -> Amount:
    """An amount of credits with two decimals, exact to the micro-credit beside it."""
    return Amount(
        format_credits(credit_micros, currency), format_credits(credit_micros, currency, decimals=6), not credit_micros
    )


def rate(rate_micros_per_hour: int, currency: str) -> Amount:
    """A price per hour, exact to the micro-credit beside it."""
    exact = format_credits(rate_micros_per_hour, currency, decimals=6)
    return Amount(format_rate(rate_micros_per_hour, currency), f"{exact}/h", not rate_micros_per_hour)


def quote(
    credits: CreditsView | None,
    spec_rate_micros_per_hour: int,
    home_rate_micros_per_hour: int,
    *,
    home_is_billed: bool,
    now_ms: int,
) -> Quote:
    """The quote of a spec for a workspace of an organization.

    Workspaces run until the balance reaches −buffer (seed 000, "credit buffer"), at the rate of everything
    that runs already plus this one.  ``home_is_billed`` says that the workspace exists, so that its home is
    part of the organization's present rate.
    """
    currency = credits.currency if credits else "USD"
    added = spec_rate_micros_per_hour + (0 if home_is_billed else home_rate_micros_per_hour)
    compute = rate(spec_rate_micros_per_hour, currency)
    now = rate(spec_rate_micros_per_hour + home_rate_micros_per_hour, currency)
    if credits is None:
        return Quote(compute, now)
    if cannot_start(credits, now_ms):
        return Quote(compute, now, instead="no credits left")
    at_ms = max(now_ms, credits.at_ms)
    accruals = (Accrual(credits.rate_micros_per_hour, credits.at_ms), Accrual(added, at_ms))
    until_ms = running_balance(credits.balance_micros, accruals).reaches_ms(-credits.buffer_micros, at_ms)
    if until_ms is None:
        return Quote(compute, now, instead="credits are not used up")
    if until_ms - at_ms > FAR_MS:
        return Quote(compute, now, instead="lasts more than 10 years")
    until_ms = (until_ms + 500) // 1000 * 1000  # the crossing is exact to the millisecond; people read seconds
    until = datetime.fromtimestamp(until_ms // 1000, timezone.utc)
    return Quote(
        compute,
        now,
        until_iso=until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        until=utc_text(until_ms, at_ms),
        duration=format_duration((until_ms - at_ms + 500) // 1000),
    )


def cannot_start(credits: CreditsView, now_ms: int) -> str:
    """Why the organization's credits allow no start, and whom to ask; empty when they do."""
    at_ms = max(now_ms, credits.at_ms)
    balance = running_balance(credits.balance_micros, (Accrual(credits.rate_micros_per_hour, credits.at_ms),))
    refusal = no_credits(balance.micros(at_ms), credits.currency, credits.title, credits.contact or "an admin")
    return "" if refusal is None else f"{refusal[0].removeprefix('Not started: ')} {refusal[1]}"


def utc_text(at_ms: int, now_ms: int) -> str:
    """An instant in UTC, as short as can be: ``Tue 14:20 UTC``, ``24 Nov 14:20 UTC``, ``24 Nov 2027``."""
    at = datetime.fromtimestamp(at_ms // 1000, timezone.utc)
    ahead_ms = at_ms - now_ms
    if ahead_ms < 6 * DAY_MS:
        return f"{_DAYS[at.weekday()]} {at:%H:%M} UTC"
    if ahead_ms < 300 * DAY_MS:
        return f"{at.day} {_MONTHS[at.month - 1]} {at:%H:%M} UTC"
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"
