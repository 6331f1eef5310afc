"""Credits as integers: parsing, showing and accruing.

One credit is 1,000,000 micro-credits and is worth one unit of the organization's currency.  A rate is in
micro-credits per hour, an instant in UTC milliseconds.  DESIGN §5: no floats, no ticks; the charge of an
interval is the difference of two cumulative amounts, so settling often or rarely gives the same total.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from .errors import BadInput

MICROS = 1_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MONTH_HOURS = 730
"""Hours of a billing month (365 × 24 / 12); storage is priced per GiB and month."""

CREDIT_MICROS_MAX = 10**9 * MICROS
"""No single amount may exceed a thousand million credits: beyond it is a typing error, not a purchase."""

_AMOUNT = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,12})?")
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "KRW": "₩"}


class Accrual(NamedTuple):
    """A rate that has been running since an instant: what an open span costs."""

    rate_micros_per_hour: int
    started_ms: int


def parse_credit_micros(value: object, *, field: str = "amount") -> int:
    """Read an amount of credits as a person writes it (``"20"``, ``"0.05"``, 20) into micro-credits.

    Raises `BadInput` for anything that is not a finite number with at most six decimals, or is beyond
    `CREDIT_MICROS_MAX` in either direction.  Binary floats are refused: they are not what was written.
    """
    if isinstance(value, (bool, float)) or not isinstance(value, (int, str, Decimal)):
        raise BadInput("An amount is written as a number such as 20 or 12.50.", field=field)
    if isinstance(value, str) and not _AMOUNT.fullmatch(value.strip()):
        raise BadInput("An amount is written as a number such as 20 or 12.50.", field=field)
    amount = Decimal(value.strip() if isinstance(value, str) else value)
    if not amount.is_finite():
        raise BadInput("An amount is a finite number such as 20 or 12.50.", field=field)
    if abs(amount) > CREDIT_MICROS_MAX // MICROS:
        raise BadInput("An amount may not exceed 1,000,000,000.", field=field)
    micros = amount * MICROS
    if micros != micros.to_integral_value():
        raise BadInput("An amount has at most six decimals.", field=field)
    return int(micros)


def format_credits(credit_micros: int, currency: str = "USD", *, decimals: int = 2) -> str:
    """Show an amount with its unit: ``$41.20``, ``−$2.10``; currencies without a symbol as ``1.00 CHF``.

    Rounded half-even to ``decimals`` (2 on pages, 6 for the exact value).
    """
    quantum = Decimal(1).scaleb(-decimals)
    amount = (Decimal(abs(credit_micros)) / MICROS).quantize(quantum, ROUND_HALF_EVEN)
    sign = "−" if credit_micros < 0 and amount else ""
    symbol = SYMBOLS.get(currency)
    return f"{sign}{symbol}{amount:,}" if symbol else f"{sign}{amount:,} {currency}"


def format_rate(rate_micros_per_hour: int, currency: str = "USD") -> str:
    """Show a price per hour, with as many decimals as a small price needs: ``$2.39/h``, ``$0.0027/h``."""
    decimals = 2 if rate_micros_per_hour % 10_000 == 0 or rate_micros_per_hour >= MICROS else 4
    return f"{format_credits(rate_micros_per_hour, currency, decimals=decimals)}/h"


def divide_half_even(numerator: int, denominator: int) -> int:
    """Integer division rounded to the nearest, ties to even; the denominator is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2):
        quotient += 1
    return quotient


def cumulative_micros(accrual: Accrual, at_ms: int) -> int:
    """C(t): what has accrued from the span's start to ``at_ms``, rounded once; 0 before the start."""
    elapsed_ms = max(0, at_ms - accrual.started_ms)
    return divide_half_even(accrual.rate_micros_per_hour * elapsed_ms, HOUR_MS)


def charge_micros(accrual: Accrual, from_ms: int, to_ms: int) -> int:
    """The charge of the half-open interval [from, to): C(to) − C(from)."""
    return cumulative_micros(accrual, to_ms) - cumulative_micros(accrual, from_ms)
