"""From the service's answers to what *Credits* shows: the balance in sentences, and the ledger in rows.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from ...ledger.events import Event
from ...ledger.statements import USAGE_KINDS
from ...model.identity import Principal, Role
from ...model.money import format_credits
from ...model.wire_credits import CreditsView, LedgerLine, LedgerPage
from .credits_query import CreditsQuery
from .words import FAR_MS, Amount, Instant, amount, duration, instant, instant_in_words, rate, signed_amount

KINDS = {
    "usage": "Usage",
    "top-up": "Top-up",
    "refund": "Refund",
    "grant": "Grant",
    "expiry": "Expired grant",
    "void": "Grant taken back",
    "correction": "Correction",
    "opening": "Opening credits",
}
"""Kinds of movements, as the ledger and its filter call them."""

RUNNING = {"running": ("running", "fa-circle-play"), "stored": ("stored", "fa-database")}
"""Usage that goes on: a word and a picture for compute and for storage."""
ENDS = {
    "user": "stopped",
    "credits": "paused by credits",
    "terminated": "terminated",
    "out_of_memory": "out of memory",
    "exited": "ended by itself",
    "failed": "failed",
    "lost": "lost",
    "settled": "booked while running",
    "repriced": "the price changed",
}
NEWS_ICONS = {"credits-restored": "fa-circle-check", "budget-restored": "fa-circle-check", "budget-set": "fa-sliders"}
"""What is not listed is a warning."""


@dataclass(frozen=True)
class Forecast:
    """One thing that will happen to the balance: words before and after an instant, or words alone.

    ``large`` marks what matters most: the day credits run out.
    """

    before: str
    at: Instant | None = None
    after: str = ""
    large: bool = False


@dataclass(frozen=True)
class News:
    """Something that happened to credits or budgets."""

    at: Instant
    icon: str
    text: str


@dataclass(frozen=True)
class LedgerRow:
    """One movement; ``what`` names it, ``about`` says the rest.

    ``running`` and ``icon`` mark usage that goes on, in a word and as a picture; empty for what is booked.
    ``refund`` is the address of the form that gives it back.
    """

    id: str
    at: Instant
    kind: str
    what: str
    about: str
    who: str
    span: tuple[Instant, Instant | None] | None
    lasted: str
    rate: Amount | None
    amount: Amount
    balance: Amount | None
    running: str
    icon: str
    refund: str = ""


@dataclass(frozen=True)
class CreditsPage:
    """All that the template shows.

    ``organizations`` are (title, address, whether it is shown now); ``parts`` says what of the balance was
    granted; ``notice`` a movement that was just recorded; ``ask`` whom a person who cannot top up may ask;
    ``ending`` what happens to paused workspaces when credits stay used up.
    """

    organization: str
    title: str
    organizations: tuple[tuple[str, str, bool], ...]
    balance: Amount
    parts: str
    rate: Amount | None
    tone: str
    forecasts: tuple[Forecast, ...]
    ending: Forecast | None
    dry_run: bool
    ask: str
    admin: bool
    minimum: str
    rows: tuple[LedgerRow, ...]
    with_balance: bool
    ledger_about: str
    empty: str
    newer: str | None
    older: str | None
    notice: str


def credits_page(
    credits: CreditsView,
    every: tuple[CreditsView, ...],
    ledger: LedgerPage,
    principal: Principal,
    query: CreditsQuery,
    *,
    recorded: str = "",
) -> CreditsPage:
    """The page of one organization.

    Parameters
    ----------
    every
        All organizations of the person, to switch between.
    query
        Which page of the ledger this is.
    recorded
        Id of a movement that was just recorded, to be confirmed if it is on this page.
    """
    admin = principal.is_admin(credits.organization)
    rows = tuple(
        ledger_row(line, credits.currency, ledger.at_ms, refund_of=credits.organization if admin else "")
        for line in ledger.lines
    )
    least = credits.minimum_top_up_micros
    return CreditsPage(
        organization=credits.organization,
        title=credits.title,
        organizations=tuple(
            (c.title, CreditsQuery(organization=c.organization).link(), c.organization == credits.organization)
            for c in every
        ),
        balance=amount(
            credits.balance_micros,
            credits.currency,
            rate_micros_per_hour=-credits.rate_micros_per_hour,
            at_ms=credits.at_ms,
        ),
        parts=_parts(credits),
        rate=rate(credits.rate_micros_per_hour, credits.currency) if credits.rate_micros_per_hour else None,
        tone="below" if credits.balance_micros < 0 else "",
        forecasts=forecasts(credits),
        ending=ending(credits),
        dry_run=credits.dry_run,
        ask="" if admin else credits.contact,
        admin=admin,
        minimum=format_credits(least, credits.currency) if least else "",
        rows=rows,
        with_balance=admin,
        ledger_about=_about(principal, credits.organization),
        empty=_empty(query),
        newer=query.newer(),
        older=None if ledger.next is None else query.older(ledger.next),
        notice=_notice(rows, recorded),
    )


def _parts(credits: CreditsView) -> str:
    if credits.wallet_micros == credits.balance_micros or not credits.grants:
        return ""
    granted = format_credits(credits.balance_micros - credits.wallet_micros, credits.currency)
    return f"{format_credits(credits.wallet_micros, credits.currency)} paid and {granted} granted"


def _empty(query: CreditsQuery) -> str:
    if query.filtered:
        return "Nothing matches."
    if query.cursor:
        return "There is nothing older."
    return "Nothing has moved yet. Usage appears here as soon as a workspace runs."


def _notice(rows: tuple[LedgerRow, ...], recorded: str) -> str:
    found = next((r for r in rows if recorded and r.id == recorded and not r.running), None)
    return f"{found.amount.text} recorded. {found.about}" if found else ""


def news_rows(happened: Iterable[Event], now_ms: int) -> tuple[News, ...]:
    """What happened, as rows."""
    return tuple(
        News(instant(event.at_ms, now_ms), NEWS_ICONS.get(event.kind, "fa-triangle-exclamation"), event.message)
        for event in happened
    )


def _about(principal: Principal, organization: str) -> str:
    if principal.is_admin(organization):
        return "Every movement of the organization's credits, newest first."
    roles = {m.role for m in principal.memberships if m.organization == organization}
    if Role.MANAGER in roles:
        return "Top-ups, and the usage of the teams you manage, newest first."
    return "Top-ups, and your own usage, newest first."


def forecasts(credits: CreditsView) -> tuple[Forecast, ...]:
    """What will happen to the balance at the present rate, as sentences."""
    now_ms, balance = credits.at_ms, credits.balance_micros
    floor = format_credits(-credits.buffer_micros, credits.currency)
    what = "paid credits reach" if credits.grants else "the balance reaches"
    said = []
    if balance <= 0:
        state = "below zero" if balance < 0 else "used up"
        said.append(Forecast(f"Credits are {state}: no workspace can start until somebody tops up.", large=True))
    if not credits.rate_micros_per_hour:
        said.append(Forecast("Nothing is billed just now."))
        return tuple(said)
    if balance > 0 and credits.empty_ms is not None:
        if credits.empty_ms - now_ms > FAR_MS:
            said.append(Forecast("At this rate credits last more than ten years.", large=True))
            return tuple(said)
        left = f", in {duration(now_ms, credits.empty_ms)}."
        when = instant_in_words(credits.empty_ms, now_ms)
        said.append(Forecast("At this rate credits run out on ", when, left, large=True))
    if credits.pause_ms is None:
        said.append(Forecast("No workspace is running; what is billed is storage."))
    elif credits.pause_ms <= now_ms:
        said.append(Forecast(f"Credits have reached {floor}, so running workspaces are being paused."))
    elif credits.pause_ms - now_ms <= FAR_MS:
        when = instant(credits.pause_ms, now_ms)
        left = f" (in {duration(now_ms, credits.pause_ms)})."
        said.append(Forecast(f"Running workspaces are paused when {what} {floor}: ", when, left))
    return tuple(said)


def ending(credits: CreditsView) -> Forecast | None:
    """What happens to workspaces that were paused for want of credits; None while credits are not used up."""
    if credits.terminate_ms is None or credits.balance_micros > 0:
        return None
    lost = (
        "Lost then: what is in their homes and in temporary storage. Kept: cluster and object storage of the teams. "
        "A top-up stops it."
    )
    if credits.dry_run:
        lost = "This is a dry run, so nothing is really paused or terminated."
    if credits.terminate_ms <= credits.at_ms:
        return Forecast(f"Credits stayed used up, so paused workspaces are being terminated. {lost}")
    when = instant_in_words(credits.terminate_ms, credits.at_ms)
    left = f", in {duration(credits.at_ms, credits.terminate_ms)}. {lost}"
    return Forecast("Credits are used up. Workspaces that were paused for it are terminated on ", when, left)


def _what(line: LedgerLine, title: str) -> str:
    """What was used, as people call it: a workspace, or a volume of a team."""
    if line.workspace_title:
        return line.workspace_title
    kind, _, volume = line.item.partition("/")
    return f"Storage: {volume}" if volume and kind in ("cluster", "object") else title


def _about_line(line: LedgerLine) -> str:
    if line.kind == "correction":
        return f"correction: {line.reason}"
    if line.kind == "usage":
        how = ENDS.get(line.reason, line.reason)
        return f"storage, {how}" if line.item == "workspace" else how
    return line.reason


def ledger_row(line: LedgerLine, currency: str, now_ms: int, *, refund_of: str = "") -> LedgerRow:
    """One movement as a row; ``refund_of`` is the organization whose top-ups the reader may give back."""
    usage = line.kind in USAGE_KINDS
    title = KINDS.get(line.kind, line.kind)
    span, lasted = None, ""
    if line.from_ms is not None:
        until_ms = now_ms if line.to_ms is None else line.to_ms
        span = (instant(line.from_ms, now_ms), None if line.open else instant(until_ms, now_ms))
        lasted = duration(line.from_ms, until_ms)
    about = _about_line(line)
    refund = ""
    if refund_of and line.kind == "top-up":
        refund = f"credits/refund?{urlencode({'organization': refund_of, 'top_up': line.source})}"
    running, icon = RUNNING.get(line.reason, RUNNING["running"]) if line.open else ("", "")
    who = (line.user or ("" if line.team else line.actor)) if usage else line.actor
    return LedgerRow(
        id=line.id,
        at=instant(line.at_ms, now_ms),
        kind=line.kind,
        what=_what(line, title) if usage else title,
        about="" if line.open or about == title else about,
        who=" · ".join(part for part in (who, line.team) if part),
        span=span,
        lasted=lasted,
        rate=None if line.rate_micros_per_hour is None else rate(line.rate_micros_per_hour, currency),
        amount=signed_amount(line.amount_micros, currency)
        if not line.open
        else amount(
            line.amount_micros,
            currency,
            rate_micros_per_hour=-(line.rate_micros_per_hour or 0),
            at_ms=now_ms,
        ),
        balance=None if line.balance_micros is None else amount(line.balance_micros, currency),
        running=running,
        icon=icon,
        refund=refund,
    )
