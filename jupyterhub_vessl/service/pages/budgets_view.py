"""Budgets and caps as *Credits* shows them: what is used of each limit, in words and as a bar.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from ...model.money import format_credits
from ...model.units import GIB, KIB, MIB, TIB, format_bytes
from ...model.wire_credits import BudgetList, BudgetView, LimitsView
from .words import typed_amount

ALMOST = 80
"""From so many hundredths on a limit is almost used up."""

LIMIT_FIELDS = ("day", "month", "workspaces", "gpus", "storage")


@dataclass(frozen=True)
class LimitLine:
    """One limit: ``text`` says what is used of it, ``used`` and ``most`` are for the bar, ``tone`` for its color.

    ``word`` is what the color says: almost used up, or used up.
    """

    text: str
    used: int
    most: int
    tone: str
    word: str
    exact: str


@dataclass(frozen=True)
class BudgetRow:
    """The limits of one team or person; ``spent`` what is used this month where nothing limits it."""

    title: str
    icon: str
    lines: tuple[LimitLine, ...]
    spent: str
    href: str


@dataclass(frozen=True)
class BudgetsView:
    """What matters, and ``others``: people whose limits are those of the offer and far away, or who have none.

    ``add`` is the address of a form for somebody.
    """

    rows: tuple[BudgetRow, ...]
    others: tuple[BudgetRow, ...]
    add: str


def budgets_view(budgets: BudgetList, organization: str, person: str, *, may_add: bool) -> BudgetsView:
    """The budgets that a person may see."""
    rows = [(budget, _row(budget, budgets.currency, organization)) for budget in budgets.budgets]

    def matters(budget: BudgetView, row: BudgetRow) -> bool:
        own = budget.user in ("", person) and bool(row.lines or not budget.user)
        return own or budget.set != LimitsView() or any(line.tone for line in row.lines)

    return BudgetsView(
        rows=tuple(row for budget, row in rows if matters(budget, row)),
        others=tuple(row for budget, row in rows if not matters(budget, row)),
        add=_address(organization, "", "") if may_add else "",
    )


def _address(organization: str, team: str, user: str) -> str:
    arguments = {"organization": organization, "team": team, "user": user}
    return f"credits/budget?{urlencode({name: value for name, value in arguments.items() if value})}"


def _row(budget: BudgetView, currency: str, organization: str) -> BudgetRow:
    lines = tuple(_lines(budget, currency))
    icon = "fa-user" if budget.user else "fa-users" if budget.team else "fa-building"
    title = budget.title.removeprefix("team ")
    href = _address(organization, budget.team, budget.user) if budget.may_set else ""
    if href and not (budget.team or budget.user):
        href += "&whole=1"
    return BudgetRow(title, icon, lines, f"{format_credits(budget.use.month_micros, currency)} this month", href)


def _lines(budget: BudgetView, currency: str) -> Iterable[LimitLine]:
    def credits(micros: int) -> str:
        return format_credits(micros, currency)

    def exactly(micros: int) -> str:
        return format_credits(micros, currency, decimals=6)

    kinds: tuple[tuple[str, str, Callable[[int], str], Callable[[int], str]], ...] = (
        ("day_micros", "today", credits, exactly),
        ("month_micros", "this month", credits, exactly),
        ("workspaces", "workspaces at once", str, str),
        ("gpus", "GPUs at once", str, str),
        ("storage_bytes", "of storage", format_bytes, format_bytes),
    )
    for name, words, shown, exact in kinds:
        limits = [limit for limit in (getattr(budget.offered, name), getattr(budget.set, name)) if limit is not None]
        if limits:
            used, most = getattr(budget.use, name), min(limits)
            tone, word = _tone(used, most)
            yield LimitLine(
                text=f"{shown(used)} of {shown(most)} {words}",
                used=min(used, most) if most else 1,
                most=most or 1,
                tone=tone,
                word=word,
                exact=f"{exact(used)} of {exact(most)}",
            )


def _tone(used: int, most: int) -> tuple[str, str]:
    if used >= most:
        return "full", "used up"
    return ("high", "almost used up") if used * 100 >= most * ALMOST else ("", "")


# -- the form ------------------------------------------------------------------


def budget_values(budget: BudgetView | None) -> dict[str, str]:
    """What stands in the form of a team or person: the limits that were set."""
    if budget is None:
        return dict.fromkeys(LIMIT_FIELDS, "")
    limits = budget.set
    return {
        "day": typed_amount(limits.day_micros),
        "month": typed_amount(limits.month_micros),
        "workspaces": "" if limits.workspaces is None else str(limits.workspaces),
        "gpus": "" if limits.gpus is None else str(limits.gpus),
        "storage": "" if limits.storage_bytes is None else _typed_size(limits.storage_bytes),
    }


def _typed_size(size_bytes: int) -> str:
    units = (("Ti", TIB), ("Gi", GIB), ("Mi", MIB), ("G", 10**9), ("M", 10**6), ("Ki", KIB), ("K", 1000))
    unit, bytes_each = next((u for u in units if size_bytes % u[1] == 0), ("Ki", KIB))
    return f"{size_bytes // bytes_each}{unit}"


def offered_words(limits: LimitsView, currency: str) -> dict[str, str]:
    """What the offer says about each field of the form, "" where it says nothing."""
    shown = {
        "day": None if limits.day_micros is None else format_credits(limits.day_micros, currency),
        "month": None if limits.month_micros is None else format_credits(limits.month_micros, currency),
        "workspaces": None if limits.workspaces is None else str(limits.workspaces),
        "gpus": None if limits.gpus is None else str(limits.gpus),
        "storage": None if limits.storage_bytes is None else format_bytes(limits.storage_bytes),
    }
    return {name: f"The offer allows {text}; the lower of both holds." if text else "" for name, text in shown.items()}


def used_words(budget: BudgetView | None, currency: str) -> dict[str, str]:
    """What is used now, for each field of the form."""
    if budget is None:
        return dict.fromkeys(LIMIT_FIELDS, "")
    use = budget.use
    return {
        "day": f"Used today: {format_credits(use.day_micros, currency)}.",
        "month": f"Used this month: {format_credits(use.month_micros, currency)}.",
        "workspaces": f"Running now: {use.workspaces}.",
        "gpus": f"In use now: {use.gpus}.",
        "storage": f"In use now: {format_bytes(use.storage_bytes)}.",
    }
