"""The charts of *Credits*: numbers for the script, and the same numbers as sentences and tables.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...model.money import DAY_MS, SYMBOLS, format_credits
from ...model.wire_series import SeriesView
from ..series import DAYS, DIVISIONS
from .credits_query import SHOWS, CreditsQuery
from .words import Amount, Instant, amount, day_of, duration, instant

NAMED_MAX = 3
"""So many groups are named in the sentence about usage."""

Tab = tuple[str, str, bool]
"""Title, address, and whether it is shown now."""

SHOW_TITLES = {"days": "Day by day", "totals": "In total"}


@dataclass(frozen=True)
class BurnRow:
    """One group in the table under the chart."""

    title: str
    total: Amount
    share: str
    days: tuple[Amount, ...]


@dataclass(frozen=True)
class ChartsView:
    """Both charts.

    ``data`` is what the script draws; ``balance_about`` and ``burn_about`` say the same in a sentence, ``balances``
    and ``rows`` in tables.
    """

    data: dict[str, Any]
    ranges: tuple[Tab, ...]
    divisions: tuple[Tab, ...]
    shows: tuple[Tab, ...]
    show: str
    by: str
    balance_about: str
    balances: tuple[tuple[Instant, Amount, str], ...]
    burn_title: str
    burn_about: str
    days: tuple[str, ...]
    rows: tuple[BurnRow, ...]
    empty: str


def charts_view(series: SeriesView, query: CreditsQuery, *, admin: bool, manager: bool) -> ChartsView:
    """What the charts show to an admin, a manager, or somebody who sees the own share only."""
    currency, days = series.currency, int(query.days)
    used = sum(group.total_micros for group in series.burn)
    divisions = DIVISIONS if admin or manager else tuple(d for d in DIVISIONS if d != "person")
    # days before the books began are left out
    begun = next((n for n, at_ms in enumerate(series.days_ms) if at_ms + DAY_MS > series.past[0].at_ms), 0)
    who = "" if admin else "Your teams' " if manager else "Your "
    return ChartsView(
        data=_data(series, query.show, begun),
        ranges=tuple((f"{d} days", query.link(days=str(d)), d == days) for d in DAYS),
        divisions=tuple((f"By {name}", query.link(by=name), name == series.by) for name in divisions),
        shows=tuple((SHOW_TITLES[name], query.link(show=name), name == query.show) for name in SHOWS),
        show=query.show,
        by=series.by,
        balance_about=_balance_about(series),
        balances=_balances(series),
        burn_title=f"{who}usage" if who else "Usage",
        burn_about=_burn_about(series, used, days),
        days=tuple(day_of(at_ms) for at_ms in series.days_ms[begun:]),
        rows=tuple(
            BurnRow(
                title=group.title,
                total=amount(group.total_micros, currency),
                share=f"{round(100 * group.total_micros / used)} %" if used else "",
                days=tuple(amount(micros, currency) for micros in group.day_micros[begun:]),
            )
            for group in series.burn
        ),
        empty="" if series.burn else _empty(days, admin=admin, manager=manager),
    )


def _data(series: SeriesView, show: str, begun: int) -> dict[str, Any]:
    symbol = SYMBOLS.get(series.currency, "")
    return {
        "symbol": symbol,
        "unit": "" if symbol else f" {series.currency}",
        "past": [[point.at_ms, point.balance_micros] for point in series.past],
        "ahead": [[point.at_ms, point.balance_micros] for point in series.ahead],
        "floor": -series.buffer_micros,
        "floorTitle": f"Workspaces pause at {format_credits(-series.buffer_micros, series.currency)}",
        "days": list(series.days_ms[begun:]),
        "show": show,
        "groups": [
            {"title": group.title, "days": list(group.day_micros[begun:]), "total": group.total_micros}
            for group in series.burn
        ],
    }


def _balances(series: SeriesView) -> tuple[tuple[Instant, Amount, str], ...]:
    """Newest first, what is to come on top."""
    ahead = [(point, "forecast") for point in series.ahead[1:]]
    past = [(point, "") for point in series.past]
    past[-1] = (past[-1][0], "now")
    return tuple(
        (instant(point.at_ms, series.at_ms), amount(point.balance_micros, series.currency), word)
        for point, word in reversed(past + ahead)
    )


def _balance_about(series: SeriesView) -> str:
    first, now = series.past[0], series.past[-1]
    begun, shown = (format_credits(point.balance_micros, series.currency) for point in (first, now))
    said = f"{shown} now"
    if len(series.past) > 1:
        said = f"{begun} {duration(first.at_ms, now.at_ms)} ago, {said}"
    last = series.ahead[-1]
    if last.at_ms > now.at_ms:
        to_come = format_credits(last.balance_micros, series.currency)
        said += f", and at the present rate {to_come} in {duration(now.at_ms, last.at_ms)}"
    return f"{said}."


def _burn_about(series: SeriesView, used: int, days: int) -> str:
    if not series.burn:
        return ""
    named = [f"{g.title} {format_credits(g.total_micros, series.currency)}" for g in series.burn[:NAMED_MAX]]
    if len(series.burn) > NAMED_MAX:
        rest = sum(group.total_micros for group in series.burn[NAMED_MAX:])
        named.append(f"all others {format_credits(rest, series.currency)}")
    return f"{format_credits(used, series.currency)} in {days} days: {', '.join(named)}."


def _empty(days: int, *, admin: bool, manager: bool) -> str:
    whose = "Nobody has used any" if admin else "Nobody in your teams has used any" if manager else "You have used no"
    return f"{whose} credits in the last {days} days. Usage appears here as soon as a workspace runs."
