"""Which grant pays for what: promotional credits with priority, dates and applicability.  Pure.

Usage is always booked against the wallet.  A grant pays back to the wallet what applicable usage cost while it
was live, in a fixed burn order: lowest priority number first, then the earliest expiry, then the oldest.  What
is drawn is defined millisecond by millisecond, class by class in the order of their names, in whole units
(`model.usage`), so it does not depend on how often anybody looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from .money import HOUR_MS, divide_half_even
from .text import check_name
from .usage import COMPUTE, STORAGE, UsageClass

PRIORITY_MAX = 1000

_Name = Annotated[str, BeforeValidator(lambda value: check_name(value) if isinstance(value, str) else value)]
_Kind = Annotated[str, Field(pattern=f"^({COMPUTE}|{STORAGE})$")]


class Applies(BaseModel):
    """What a grant pays for; an empty one pays for everything.

    ``gpu`` narrows it to resource specs with (True) or without (False) a GPU, ``specs`` to some of them,
    ``kind`` to ``compute`` or ``storage``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: _Kind | None = None
    gpu: StrictBool | None = None
    specs: Annotated[tuple[_Name, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _about_something(self) -> Applies:
        if self.kind == STORAGE and (self.gpu is not None or self.specs):
            raise ValueError("storage has no GPUs and no resource specs; leave out kind, or gpu and specs")
        return self

    def covers(self, usage: UsageClass) -> bool:
        """Whether the grant pays for this usage."""
        if self.kind is not None and usage.kind != self.kind:
            return False
        if (self.gpu is not None or self.specs) and usage.kind != COMPUTE:
            return False
        if self.gpu is not None and usage.gpu != self.gpu:
            return False
        return not self.specs or usage.item in self.specs

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.kind is None and self.gpu is None and not self.specs


@dataclass(frozen=True)
class Fund:
    """A grant that is live, at an instant.

    ``left_units`` is what it still has, exactly; ``number`` counts grants in the order of their making.
    """

    id: str
    number: int
    priority: int
    expires_ms: int | None
    applies: Applies
    amount_micros: int
    drawn_units: int = 0

    @property
    def left_units(self) -> int:
        """What it still has, in units."""
        return self.amount_micros * HOUR_MS - self.drawn_units

    @property
    def drawn_micros(self) -> int:
        """What was drawn, rounded once."""
        return divide_half_even(self.drawn_units, HOUR_MS)

    @property
    def left_micros(self) -> int:
        """What it still has, in micro-credits."""
        return self.amount_micros - self.drawn_micros


def burn_order(funds: Iterable[Fund]) -> tuple[Fund, ...]:
    """The order in which grants are used up."""
    return tuple(
        sorted(funds, key=lambda f: (f.priority, f.expires_ms is None, f.expires_ms or 0, f.number)),
    )


def payers(rates: Mapping[UsageClass, int], funds: Iterable[Fund]) -> dict[UsageClass, Fund | None]:
    """Who pays for each class of usage now: the first grant in burn order that applies and has something left."""
    ordered = [fund for fund in burn_order(funds) if fund.left_units > 0]
    return {usage: next((f for f in ordered if f.applies.covers(usage)), None) for usage in rates}


def rates_by_fund(rates: Mapping[UsageClass, int], funds: Iterable[Fund]) -> dict[str, int]:
    """Micro-credits per hour that each grant pays now, by its id; grants that pay nothing are left out."""
    sums: dict[str, int] = {}
    for usage, fund in payers(rates, funds).items():
        if fund is not None and rates[usage] > 0:
            sums[fund.id] = sums.get(fund.id, 0) + rates[usage]
    return sums


def draw(rates: Mapping[UsageClass, int], funds: Iterable[Fund], from_ms: int, to_ms: int) -> tuple[Fund, ...]:
    """The funds at ``to_ms``, after usage at these rates since ``from_ms``, in burn order.

    All of them must be live over the whole interval: callers cut it where a grant begins or expires.
    """
    ordered, at_ms = list(burn_order(funds)), from_ms
    while at_ms < to_ms:
        by_fund = rates_by_fund(rates, ordered)
        if not by_fund:
            break
        whole_ms = min(fund.left_units // by_fund[fund.id] for fund in ordered if fund.id in by_fund)
        step_ms = min(whole_ms, to_ms - at_ms)
        if step_ms > 0:
            ordered = [replace(f, drawn_units=f.drawn_units + by_fund.get(f.id, 0) * step_ms) for f in ordered]
            at_ms += step_ms
        else:  # in this very millisecond some grant is used up
            ordered = _draw_one_ms(rates, ordered)
            at_ms += 1
    return tuple(ordered)


def _draw_one_ms(rates: Mapping[UsageClass, int], ordered: list[Fund]) -> list[Fund]:
    drawn = {fund.id: fund.drawn_units for fund in ordered}
    for usage in sorted(rates):
        needed = rates[usage]
        for fund in ordered:
            if needed > 0 and fund.applies.covers(usage):
                taken = min(needed, fund.amount_micros * HOUR_MS - drawn[fund.id])
                drawn[fund.id] += taken
                needed -= taken
    return [replace(fund, drawn_units=drawn[fund.id]) for fund in ordered]


def used_up_ms(rates: Mapping[UsageClass, int], funds: Iterable[Fund], from_ms: int) -> int | None:
    """The first instant at which some grant is used up at these rates; None when none is."""
    ordered = list(funds)
    by_fund = rates_by_fund(rates, ordered)
    ends = [from_ms - (-fund.left_units // by_fund[fund.id]) for fund in ordered if fund.id in by_fund]
    return min(ends, default=None)


@dataclass(frozen=True)
class Claim:
    """A grant and when it paid: from ``effective_ms`` on, until ``ended_ms`` (None while it is live)."""

    fund: Fund
    effective_ms: int
    ended_ms: int | None

    def paid_during(self, from_ms: int, to_ms: int) -> bool:
        """Whether it was live over a whole interval."""
        return self.effective_ms <= from_ms and (self.ended_ms is None or self.ended_ms >= to_ms)


def overpaid_units(
    claims: Iterable[Claim], usage: UsageClass, rate_micros_per_hour: int, end_ms: int, now_ms: int
) -> dict[str, int]:
    """What live grants paid for usage that had ended at ``end_ms``, which is learnt now: units by their id.

    In each piece of the time since, whoever was first in burn order paid.  What a grant paid that has ended
    meanwhile is not in the answer: it comes back as paid credits.
    """
    known = [claim for claim in claims if claim.fund.applies.covers(usage)]
    turns = {at for claim in known for at in (claim.effective_ms, claim.ended_ms) if at is not None}
    cuts = sorted({end_ms, now_ms, *(at for at in turns if end_ms < at < now_ms)})
    back: dict[str, int] = {}
    for from_ms, to_ms in pairwise(cuts):
        paying = {claim.fund.id: claim for claim in known if claim.paid_during(from_ms, to_ms)}
        first = next(iter(burn_order(claim.fund for claim in paying.values())), None)
        if first is not None and paying[first.id].ended_ms is None:
            back[first.id] = back.get(first.id, 0) + rate_micros_per_hour * (to_ms - from_ms)
    return back
