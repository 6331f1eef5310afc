"""Money, instants and durations as the pages show them: a short text, and the exact value beside it.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal

from ...model.money import DAY_MS, MICROS, SYMBOLS, format_credits, format_rate
from ...model.units import format_duration

FAR_MS = 3650 * DAY_MS
"""An instant further away than ten years is not worth a date."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


@dataclass(frozen=True)
class Amount:
    """Money to read.

    Attributes
    ----------
    text
        Two decimals and the unit.
    exact
        Six decimals and the unit.
    micros
        The same in micro-credits.
    rate_micros_per_hour, at_ms
        How fast it changes and when it was right, so that the page can go on counting; 0 where it stands still.
    symbol, unit
        What stands before and after the number.
    """

    text: str
    exact: str
    micros: int
    rate_micros_per_hour: int = 0
    at_ms: int = 0
    symbol: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Instant:
    """A moment: ``iso`` for programs, ``text`` to read, ``title`` to the second; both in UTC.

    ``words`` marks one whose text is written out, so that the page writes it out in the reader's zone too.
    """

    iso: str
    text: str
    title: str
    words: bool = False


def amount(credit_micros: int, currency: str, *, rate_micros_per_hour: int = 0, at_ms: int = 0) -> Amount:
    """An amount of credits; with a rate, one that goes on changing after ``at_ms``."""
    symbol = SYMBOLS.get(currency, "")
    return Amount(
        text=format_credits(credit_micros, currency),
        exact=format_credits(credit_micros, currency, decimals=6),
        micros=credit_micros,
        rate_micros_per_hour=rate_micros_per_hour,
        at_ms=at_ms,
        symbol=symbol,
        unit="" if symbol else f" {currency}",
    )


def signed_amount(credit_micros: int, currency: str) -> Amount:
    """A movement: what was added carries a plus."""
    plain = amount(credit_micros, currency)
    if credit_micros <= 0:
        return plain
    return Amount(f"+{plain.text}", f"+{plain.exact}", credit_micros)


def rate(rate_micros_per_hour: int, currency: str) -> Amount:
    """A price per hour."""
    exact = format_credits(rate_micros_per_hour, currency, decimals=6)
    return Amount(format_rate(rate_micros_per_hour, currency), f"{exact}/h", rate_micros_per_hour)


def instant(at_ms: int, now_ms: int) -> Instant:
    """A moment, as short as can be from ``now_ms``: ``14:20``, ``Tue 14:20``, ``24 Nov 14:20``, ``24 Nov 2027``."""
    at, now = _utc(at_ms), _utc(now_ms)
    away_ms = abs(at_ms - now_ms)
    day = f"{at.day} {_MONTHS[at.month - 1][:3]}"
    if at.date() == now.date():
        text = f"{at:%H:%M} UTC"
    elif away_ms < 6 * DAY_MS:
        text = f"{_DAYS[at.weekday()][:3]} {at:%H:%M} UTC"
    elif away_ms < 300 * DAY_MS:
        text = f"{day} {at:%H:%M} UTC"
    else:
        text = f"{day} {at.year}"
    return _instant(at, text)


def instant_in_words(at_ms: int, now_ms: int) -> Instant:
    """A moment written out: ``Tuesday, 24 November, 14:20 UTC``, with the year when it is far away."""
    at = _utc(at_ms)
    year = f" {at.year}" if abs(at_ms - now_ms) >= 300 * DAY_MS else ""
    text = f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]}{year}, {at:%H:%M} UTC"
    return _instant(at, text, words=True)


def day_of(at_ms: int) -> str:
    """A UTC day: ``24 Nov``."""
    at = _utc(at_ms)
    return f"{at.day} {_MONTHS[at.month - 1][:3]}"


def typed_amount(credit_micros: int | None) -> str:
    """An amount as people type it into a field: ``500``, ``12.5``; empty for None."""
    return "" if credit_micros is None else f"{(Decimal(credit_micros) / MICROS).normalize():f}"


def _utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, timezone.utc)


def _instant(at: datetime, text: str, *, words: bool = False) -> Instant:
    return Instant(at.strftime("%Y-%m-%dT%H:%M:%SZ"), text, at.strftime("%Y-%m-%d %H:%M:%S UTC"), words)


def duration(from_ms: int, to_ms: int) -> str:
    """How long it is from one moment to a later one, as people say it."""
    return format_duration(max(0, to_ms - from_ms) // 1000)
