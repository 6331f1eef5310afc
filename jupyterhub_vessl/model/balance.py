"""Balances as functions of time, and when they reach a threshold, for a few spans or for a hundred thousand.

A `Balance` always knows its line (`model.usage`), which takes no time however many spans are open.  With its
terms it also knows the exact amount; that takes as long as there are terms.  Decisions are exact: the line says
when it may be time to decide, the terms then decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .money import HOUR_MS, Accrual, divide_half_even
from .usage import OpenUsage, open_usage


class Term(NamedTuple):
    """Something that is rounded by itself: ``round((rate × t + origin) / HOUR_MS)`` micro-credits, never below 0."""

    rate_micros_per_hour: int
    origin_units: int

    def micros(self, at_ms: int) -> int:
        """Its amount at an instant."""
        return divide_half_even(max(0, self.rate_micros_per_hour * at_ms + self.origin_units), HOUR_MS)


def term(accrual: Accrual) -> Term:
    """The term of one open span."""
    return Term(accrual.rate_micros_per_hour, -accrual.rate_micros_per_hour * accrual.started_ms)


@dataclass(frozen=True)
class Balance:
    """A balance from now on, as long as nothing changes.

    Attributes
    ----------
    base_micros
        What is booked, with what the open spans had booked already added back.
    usage
        The sum of what accrues against it; ``spans`` counts how many terms are rounded.
    spent, gained
        The terms themselves, if they were looked up: open spans, and what grants pay back.
    """

    base_micros: int
    usage: OpenUsage
    spent: tuple[Term, ...] | None = None
    gained: tuple[Term, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the terms are known."""
        return self.spent is not None

    def micros(self, at_ms: int) -> int:
        """The balance at an instant: exact with terms, else rounded once over all spans."""
        if self.spent is None:
            return self.base_micros - divide_half_even(self.usage.units(at_ms), HOUR_MS)
        spent = sum(term.micros(at_ms) for term in self.spent)
        return self.base_micros - spent + sum(term.micros(at_ms) for term in self.gained)

    def is_sure(self, threshold_micros: int, at_ms: int) -> bool:
        """Whether `micros` is on the right side of a threshold for certain: exact, or further away than rounding
        can move it."""
        return self.exact or abs(self.micros(at_ms) - threshold_micros) > self.usage.spans + 1

    def reaches_ms(self, threshold_micros: int, not_before_ms: int) -> int | None:
        """The first instant at which the balance is at or below a threshold; None when it never is.

        Without terms it is the earliest instant at which that is possible: at most n/2 micro-credits of burn
        too early, never too late.
        """
        rate = self.usage.rate_micros_per_hour
        if self.spent is not None and self.micros(not_before_ms) <= threshold_micros:
            return not_before_ms
        slack_units = (self.usage.spans + 1) * HOUR_MS // 2
        needed_units = (self.base_micros - threshold_micros) * HOUR_MS
        low_units = needed_units - slack_units
        if rate <= 0:
            certain = self.spent is not None or self.usage.units(not_before_ms) < low_units
            return None if certain else not_before_ms
        low = max(not_before_ms, -((self.usage.origin_units - low_units) // rate))
        if self.spent is None:
            return low
        high = max(low, -((self.usage.origin_units - needed_units - slack_units) // rate)) + 1
        while low < high:
            middle = (low + high) // 2
            if self.micros(middle) <= threshold_micros:
                high = middle
            else:
                low = middle + 1
        return low


def running_balance(base_micros: int, accruals: Iterable[Accrual]) -> Balance:
    """The balance that these spans draw on; ``base_micros`` as in `Balance`."""
    spans = tuple(accruals)
    return Balance(base_micros, open_usage(spans), tuple(term(span) for span in spans))
