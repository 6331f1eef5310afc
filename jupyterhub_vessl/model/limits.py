"""Budgets and caps: how much a team or a person may spend and have at once.  Pure.

Limits come from the offer and from what managers and admins set on the page; several may hold for one start,
and the most restrictive wins because each of them is checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .errors import BadInput
from .money import DAY_MS, HOUR_MS, divide_half_even, format_credits, parse_credit_micros
from .units import counted, format_bytes, parse_size_bytes
from .usage import OpenUsage, day_start_ms, reach_ms


def _limit_micros(value: object) -> object:
    if value is None:
        return None
    try:
        micros = parse_credit_micros(value)
    except BadInput as error:
        raise ValueError("write an amount of credits such as 500 (at most six decimals)") from error
    if micros < 0:
        raise ValueError("a budget is 0 or more")
    return micros


def _limit_bytes(value: object) -> object:
    return None if value is None else parse_size_bytes(value)


Credits = Annotated[int | None, BeforeValidator(_limit_micros)]
Count = Annotated[int, Field(ge=0, le=1_000_000)] | None


class Limits(BaseModel):
    """The limits of one scope; what is not given is not limited.

    ``day`` and ``month`` are credits that may be used in a UTC day and a UTC calendar month; ``workspaces`` and
    ``gpus`` count what is pending or running at once, ``storage`` what is provisioned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)

    day_micros: Credits = Field(default=None, alias="day")
    month_micros: Credits = Field(default=None, alias="month")
    workspaces: Count = None
    gpus: Count = None
    storage_bytes: Annotated[int | None, BeforeValidator(_limit_bytes)] = Field(default=None, alias="storage")

    @property
    def empty(self) -> bool:
        """Whether nothing is limited."""
        return all(getattr(self, name) is None for name in Limits.model_fields)


class TeamLimits(Limits):
    """The limits of a team; ``member`` those of each person in it."""

    member: Limits = Limits()


class OrganizationLimits(Limits):
    """The limits of an organization; ``member`` those of each person in it, over all teams."""

    member: Limits = Limits()


@dataclass(frozen=True)
class Use:
    """What a scope uses now: spent today and this month (with what open starts have reserved), and has at once."""

    day_micros: int = 0
    month_micros: int = 0
    workspaces: int = 0
    gpus: int = 0
    storage_bytes: int = 0


@dataclass(frozen=True)
class Asked:
    """What a start would add: what it reserves, one workspace, its GPUs, and storage that does not exist yet."""

    reserve_micros: int = 0
    gpus: int = 0
    storage_bytes: int = 0


@dataclass(frozen=True)
class LimitedScope:
    """A scope with one set of limits and its use.  ``whose`` completes "the budget of …": ``team Computer Vision``."""

    scope: str
    whose: str
    limits: Limits
    use: Use


def refusal(scopes: Iterable[LimitedScope], asked: Asked, currency: str) -> tuple[str, str, str] | None:
    """(code, message, field) of the first limit that a start would break, else None.

    Budgets are refused when nothing is left or less than the start reserves; counts when one more would be
    too many.
    """
    for scope in scopes:
        limits, use = scope.limits, scope.use
        for limit, spent, period in (
            (limits.day_micros, use.day_micros, "today"),
            (limits.month_micros, use.month_micros, "this month"),
        ):
            if limit is not None and (spent >= limit or spent + asked.reserve_micros > limit):
                budget, used = format_credits(limit, currency), format_credits(spent, currency)
                left = format_credits(max(0, limit - spent), currency)
                return (
                    "budget",
                    f"Not started: {scope.whose} has used {used} of its {budget} for {period}; {left} is left.",
                    "spec",
                )
        if limits.workspaces is not None and use.workspaces + 1 > limits.workspaces:
            return (
                "quota",
                f"Not started: {scope.whose} may have {counted(limits.workspaces, 'workspace')} running at once and "
                f"has {use.workspaces}.",
                "",
            )
        if limits.gpus is not None and asked.gpus and use.gpus + asked.gpus > limits.gpus:
            return (
                "quota",
                f"Not started: {scope.whose} may use {counted(limits.gpus, 'GPU')} at once and uses {use.gpus}; "
                f"this needs {asked.gpus}.",
                "spec",
            )
        if (
            limits.storage_bytes is not None
            and asked.storage_bytes > 0
            and use.storage_bytes + asked.storage_bytes > limits.storage_bytes
        ):
            return (
                "quota",
                f"Not started: {scope.whose} may have {format_bytes(limits.storage_bytes)} of storage and has "
                f"{format_bytes(use.storage_bytes)}; this needs {format_bytes(asked.storage_bytes)} more.",
                "storage",
            )
    return None


def month_start_ms(at_ms: int) -> int:
    """The first instant of the UTC calendar month of an instant."""
    day = datetime.fromtimestamp(day_start_ms(at_ms) // 1000, timezone.utc)
    return int(day.replace(day=1).timestamp()) * 1000


def next_month_ms(at_ms: int) -> int:
    """The first instant of the UTC calendar month after that of an instant."""
    return month_start_ms(month_start_ms(at_ms) + 32 * DAY_MS)


def spent_micros(used_units: int, before_units: int) -> int:
    """What was spent in a period, from what was used in all now and at its beginning (units)."""
    return divide_half_even(used_units - before_units, HOUR_MS)


def spent_at_ms(
    usage: OpenUsage, closed_units: int, before_units: int, limit_micros: int, not_before_ms: int
) -> int | None:
    """When a scope will have spent a limit, exactly and before rounding; None when it never does."""
    return reach_ms(usage, limit_micros * HOUR_MS + before_units - closed_units, not_before_ms)
