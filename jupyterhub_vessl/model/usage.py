"""What is being used, in sums: the exact cost of many spans at any instant without looking at each.  Pure.

The accrual of one span is rounded to micro-credits once (`model.money`).  Before rounding it is a whole number
of *units*: one micro-credit is `HOUR_MS` units, so a rate of r micro-credits per hour accrues r units per
millisecond.  Units add up exactly, so the sum of any number of spans is a straight line; the rounding of n
spans moves it by at most n/2 micro-credits, which bounds every answer that the line gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .money import DAY_MS, HOUR_MS, Accrual

COMPUTE, STORAGE = "compute", "storage"


class UsageClass(NamedTuple):
    """What spans have in common when it is decided which grant pays for them.

    ``kind`` is compute or storage; ``item`` the resource spec, or the volume (``workspace``,
    ``cluster/datasets``).
    """

    kind: str
    item: str
    gpu: bool = False

    def key(self) -> str:
        """As part of a scope's name."""
        return f"{self.kind}/{'gpu' if self.gpu else 'cpu'}/{self.item}"

    @classmethod
    def from_key(cls, key: str) -> UsageClass:
        """The inverse of `key`."""
        kind, gpu, item = key.split("/", 2)
        return cls(kind, item, gpu == "gpu")


class OpenUsage(NamedTuple):
    """The sum of open spans: they have accrued ``rate × t + origin_units`` units at the instant t (ms)."""

    spans: int = 0
    rate_micros_per_hour: int = 0
    origin_units: int = 0

    def units(self, at_ms: int) -> int:
        """What they have accrued at an instant at which all of them had begun."""
        return self.rate_micros_per_hour * at_ms + self.origin_units


def open_usage(accruals: Iterable[Accrual]) -> OpenUsage:
    """Sum up accruals."""
    spans = tuple(accruals)
    return OpenUsage(
        len(spans),
        sum(a.rate_micros_per_hour for a in spans),
        -sum(a.rate_micros_per_hour * a.started_ms for a in spans),
    )


def units_between(rate_micros_per_hour: int, from_ms: int, to_ms: int) -> int:
    """What a rate accrues over [from, to), in units; negative when ``to`` is before ``from``."""
    return rate_micros_per_hour * (to_ms - from_ms)


def reach_ms(usage: OpenUsage, units: int, not_before_ms: int) -> int | None:
    """The first instant from ``not_before_ms`` on at which a sum has accrued that much; None when it never does."""
    if usage.units(not_before_ms) >= units:
        return not_before_ms
    if usage.rate_micros_per_hour <= 0:
        return None
    return -((usage.origin_units - units) // usage.rate_micros_per_hour)


def day_start_ms(at_ms: int) -> int:
    """The UTC midnight at or before an instant."""
    return at_ms - at_ms % DAY_MS


def midnights(from_ms: int, to_ms: int) -> range:
    """The UTC midnights strictly between two instants."""
    return range(day_start_ms(from_ms) + DAY_MS, to_ms, DAY_MS)


def micros_of(units: int) -> tuple[int, int]:
    """(whole micro-credits, rest in units); the rest is 0 or more."""
    return divmod(units, HOUR_MS)
