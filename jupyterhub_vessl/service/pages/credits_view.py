"""From the service's answers to what *Credits* shows: the balance in sentences, and the ledger in rows.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...model.identity import Principal, Role
from ...model.money import format_credits
from ...model.wire import CreditsView, LedgerLine, LedgerPage
from .words import FAR_MS, Amount, Instant, amount, duration, instant, rate, signed_amount

KINDS = {"opening": "Opening credits", "top-up": "Top-up", "usage": "Usage"}
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
}
TRAIL_PAGES = 8
"""How many pages back the "Newer" link remembers."""


@dataclass(frozen=True)
class Forecast:
    """One thing that will happen to the balance: words before and after an instant, or words alone."""

    before: str
    at: Instant | None = None
    after: str = ""


@dataclass(frozen=True)
class LedgerRow:
    """One movement; ``what`` names it, ``about`` says the rest.

    ``running`` and ``icon`` mark usage that goes on, in a word and as a picture; empty for what is booked.
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


@dataclass(frozen=True)
class TopUpForm:
    """What stands in the top-up form; ``errors`` by field, ``""`` for the form as a whole."""

    amount: str = ""
    reference: str = ""
    note: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CreditsPage:
    """All that the template shows.

    ``organizations`` are (name, title, whether it is shown now); ``notice`` a top-up that was just recorded;
    ``ask`` whom a person who cannot top up may ask.
    """

    organization: str
    title: str
    organizations: tuple[tuple[str, str, bool], ...]
    balance: Amount
    rate: Amount | None
    tone: str
    forecasts: tuple[Forecast, ...]
    ask: str
    admin: bool
    minimum: str
    rows: tuple[LedgerRow, ...]
    with_balance: bool
    ledger_about: str
    newer: str | None
    older: str | None
    first_page: bool
    notice: str


def credits_page(
    credits: CreditsView,
    every: tuple[CreditsView, ...],
    ledger: LedgerPage,
    principal: Principal,
    *,
    cursor: str | None = None,
    trail: str = "",
    recorded: str = "",
) -> CreditsPage:
    """The page of one organization.

    Parameters
    ----------
    every
        All organizations of the person, to switch between.
    cursor, trail
        Where this page of the ledger begins (None for the newest), and where the pages before it began.
    recorded
        Id of a top-up that was just recorded, to be confirmed if it is on this page.
    """
    admin = principal.is_admin(credits.organization)
    rows = tuple(ledger_row(line, credits.currency, ledger.at_ms) for line in ledger.lines)
    newer, trail_older = _trail(cursor, trail)
    least = credits.minimum_top_up_micros
    return CreditsPage(
        organization=credits.organization,
        title=credits.title,
        organizations=tuple((c.organization, c.title, c.organization == credits.organization) for c in every),
        balance=amount(
            credits.balance_micros,
            credits.currency,
            rate_micros_per_hour=-credits.rate_micros_per_hour,
            at_ms=credits.at_ms,
        ),
        rate=rate(credits.rate_micros_per_hour, credits.currency) if credits.rate_micros_per_hour else None,
        tone="below" if credits.balance_micros < 0 else "",
        forecasts=forecasts(credits),
        ask="" if admin else credits.contact,
        admin=admin,
        minimum=format_credits(least, credits.currency) if least else "",
        rows=rows,
        with_balance=admin,
        ledger_about=_about(principal, credits.organization),
        newer=newer,
        older=None if ledger.next is None else f"cursor={ledger.next}&trail={trail_older}",
        first_page=cursor is None,
        notice=_notice(rows, recorded),
    )


def _trail(cursor: str | None, trail: str) -> tuple[str | None, str]:
    """(query of the newer page, trail of the older one).  A page's trail is the cursors before it, oldest first."""
    before = [part for part in trail.split(".") if part.isascii() and part.isdigit()][-TRAIL_PAGES:]
    if cursor is None:
        return None, ""
    newer = f"cursor={before[-1]}&trail={'.'.join(before[:-1])}" if before else ""
    return newer, ".".join([*before, cursor][-TRAIL_PAGES:])


def _notice(rows: tuple[LedgerRow, ...], recorded: str) -> str:
    found = next((r for r in rows if recorded and r.id == recorded and not r.running), None)
    return f"{found.amount.text} recorded. {found.about}" if found else ""


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
    said = []
    if balance <= 0:
        state = "below zero" if balance < 0 else "used up"
        said.append(Forecast(f"Credits are {state}: no workspace can start until somebody tops up."))
    if not credits.rate_micros_per_hour:
        said.append(Forecast("Nothing is billed just now."))
        return tuple(said)
    if balance > 0 and credits.empty_ms is not None:
        if credits.empty_ms - now_ms > FAR_MS:
            said.append(Forecast("At this rate credits last more than ten years."))
            return tuple(said)
        left = f" (in {duration(now_ms, credits.empty_ms)})."
        said.append(Forecast("At this rate credits are used up by ", instant(credits.empty_ms, now_ms), left))
    if credits.pause_ms is None:
        said.append(Forecast("No workspace is running; what is billed is storage."))
    elif credits.pause_ms <= now_ms:
        said.append(Forecast(f"The balance has reached {floor}, so running workspaces are being paused."))
    elif credits.pause_ms - now_ms <= FAR_MS:
        when = instant(credits.pause_ms, now_ms)
        left = f" (in {duration(now_ms, credits.pause_ms)})."
        said.append(Forecast(f"Running workspaces are paused when the balance reaches {floor}: ", when, left))
    return tuple(said)


def ledger_row(line: LedgerLine, currency: str, now_ms: int) -> LedgerRow:
    """One movement as a row."""
    usage = line.kind == "usage"
    title = KINDS.get(line.kind, line.kind)
    span, lasted = None, ""
    if line.from_ms is not None:
        until_ms = now_ms if line.to_ms is None else line.to_ms
        span = (instant(line.from_ms, now_ms), None if line.open else instant(until_ms, now_ms))
        lasted = duration(line.from_ms, until_ms)
    about = ENDS.get(line.reason, line.reason) if usage else line.reason
    running, icon = RUNNING.get(line.reason, RUNNING["running"]) if line.open else ("", "")
    who = (line.user or line.actor) if usage else line.actor
    return LedgerRow(
        id=line.id,
        at=instant(line.at_ms, now_ms),
        kind=line.kind,
        what=(line.workspace_title or title) if usage else title,
        about="" if line.open or about == title else about,
        who=f"{who} · {line.team}" if line.team else who,
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
    )
