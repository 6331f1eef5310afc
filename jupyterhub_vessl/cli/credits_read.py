"""``credits balance``, ``history`` and ``export``: what an organization has, had, and used."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import click

from ..client_credits import CreditsClient
from ..model.errors import PublicError
from ..model.money import format_credits, format_rate
from ..model.text import bounded
from ..model.wire_credits import BalanceAt, CreditsView, GrantView, LedgerLine, LedgerPage
from .credits_shared import (
    Link,
    instant,
    organization_title,
    print_json,
    print_pairs,
    print_table,
    prints,
    reaches_service,
    refuse,
)

PAGE_LINES_MAX = 200


@click.command()
@click.option("--at", metavar="INSTANT", help="The balance then, such as 2026-11-01 or 2026-11-01T12:00:00Z.")
@prints
@reaches_service
def balance(link: Link, at: str | None) -> None:
    """Show the credits, what is burned, and when they run out; or the balance at a past instant."""
    if at is not None:
        past = link.ask(lambda client, organization: client.balance_at(organization, at))
        print_json(past) if link.as_json else _print_past(past)
        return
    view = link.ask(lambda client, organization: client.balance(organization))
    print_json(view) if link.as_json else print_balance(view)


def _print_past(past: BalanceAt) -> None:
    shown = format_credits(past.balance_micros, past.currency, decimals=6)
    print_pairs(past.organization, [("balance", shown), ("at", instant(past.at_ms))])


def print_balance(view: CreditsView) -> None:
    """Credits for people."""
    granted = view.balance_micros - view.wallet_micros
    print_pairs(
        organization_title(view),
        [
            ("balance", format_credits(view.balance_micros, view.currency)),
            ("paid credits", format_credits(view.wallet_micros, view.currency) if granted else ""),
            ("grants", format_credits(granted, view.currency) if granted else ""),
            ("burns", format_rate(view.rate_micros_per_hour, view.currency)),
            ("used up", instant(view.empty_ms)),
            ("paused", instant(view.pause_ms)),
            ("terminated", instant(view.terminate_ms)),
            ("dry run", "nothing is paused or terminated" if view.dry_run else ""),
        ],
    )
    if view.grants:
        click.echo()
        print_grants(view.grants, view.currency)


def print_grants(grants: tuple[GrantView, ...], currency: str) -> None:
    """Grants for people, one line each."""
    rows = [
        (
            str(grant.number),
            grant.title,
            grant.state,
            format_credits(grant.left_micros, currency),
            format_credits(grant.amount_micros, currency),
            instant(grant.expires_ms) or "never",
        )
        for grant in grants
    ]
    print_table(("grant", "title", "state", "left", "of", "expires"), rows, right=("grant", "left", "of"))


# -- history -------------------------------------------------------------------


@click.command()
@click.option("--limit", metavar="N", type=click.IntRange(min=1), default=50, help="How many movements. Default: 50.")
@click.option("--all", "everything", is_flag=True, help="Every movement there is.")
@prints
@reaches_service
def history(link: Link, limit: int, everything: bool) -> None:
    """List movements of credits, the newest first; usage that still runs is on top."""
    page = link.ask(lambda client, organization: _movements(client, organization, None if everything else limit))
    currency = link.ask(lambda client, organization: client.balance(organization)).currency
    if link.as_json:
        print_json({"currency": currency, **page.model_dump(mode="json")})
        return
    with_balance = any(line.balance_micros is not None for line in page.lines)
    columns = ["when", "kind", "amount", *(["balance"] if with_balance else []), "team", "who", "what", "reason"]
    rows = [_row(line, currency, with_balance) for line in page.lines]
    print_table(columns, rows, right=("amount", "balance"))
    if page.next is not None:
        click.echo(f"The newest {len(page.lines)} are shown; --all shows every one.")


async def _movements(client: CreditsClient, organization: str, limit: int | None) -> LedgerPage:
    """Pages put together, up to ``limit`` booked movements; usage that still runs comes on top of them."""
    lines: list[LedgerLine] = []
    cursor, booked = None, 0
    while True:
        wanted = PAGE_LINES_MAX if limit is None else min(limit - booked, PAGE_LINES_MAX)
        page = await client.ledger(organization, cursor=cursor, limit=wanted)
        lines += page.lines
        booked += sum(not line.open for line in page.lines)
        cursor = page.next
        if cursor is None or (limit is not None and booked >= limit):
            return LedgerPage(lines=tuple(lines), next=cursor, at_ms=page.at_ms)


def _row(line: LedgerLine, currency: str, with_balance: bool) -> list[str]:
    after = "" if line.balance_micros is None else format_credits(line.balance_micros, currency)
    return [
        "now" if line.open else instant(line.at_ms),
        line.kind,
        format_credits(line.amount_micros, currency),
        *([after] if with_balance else []),
        line.team,
        line.user or line.actor,
        " ".join(
            part for part in (line.workspace_title, line.item if line.kind in ("usage", "correction") else "") if part
        ),
        line.reason,
    ]


# -- export --------------------------------------------------------------------


@click.command()
@click.option(
    "-o", "--format", "format_", type=click.Choice(["csv", "json", "focus"]), default="csv", help="Of the file."
)
@click.option("--from", "from_", metavar="INSTANT", help="Begin, such as 2026-11-01.")
@click.option("--to", metavar="INSTANT", help="End; not part of it.")
@click.option("--team", metavar="NAME", help="Only this team.")
@click.option("--user", metavar="NAME", help="Only this person.")
@click.option("--workspace", metavar="ID", help="Only this workspace.")
@click.option("--output", "file", metavar="FILE", help="Write there; without it, print.")
@reaches_service
def export(
    link: Link, format_: str, from_: str | None, to: str | None, file: str | None, **narrowed: str | None
) -> None:
    """Write the statement of a period: CSV, JSON, or FOCUS 1.2 for cost tools.

    FILE is replaced only when all of it has arrived.
    """
    given = {"format": format_, "from": from_, "to": to, **narrowed}
    query = {name: value for name, value in given.items() if value}

    async def copy(client: CreditsClient, organization: str, write: Callable[[bytes], object]) -> None:
        async for piece in client.export(organization, query):
            write(piece)

    if file is None:
        stream = sys.stdout.buffer
        link.ask(lambda client, organization: copy(client, organization, _kept(stream)))
        stream.flush()
        return
    with _replaced(Path(file)) as stream:
        link.ask(lambda client, organization: copy(client, organization, _kept(stream)))


def _kept(stream: BinaryIO) -> Callable[[bytes], object]:
    """Write to a stream; a disk that is full is a sentence like any other refusal."""

    def write(piece: bytes) -> None:
        try:
            stream.write(piece)
        except OSError as error:
            raise WriteRefused(error) from error

    return write


class WriteRefused(PublicError):
    """Where the export goes takes no more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"The export could not be written: {bounded(error.strerror or error)}.")


@contextlib.contextmanager
def _replaced(file: Path) -> Iterator[BinaryIO]:
    """A stream beside a file that takes its place once everything is in it."""
    beside = None
    try:
        try:
            descriptor, beside = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}.")
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
            os.replace(beside, file)
        except OSError as error:
            refuse(WriteRefused(error).sentence())
    except BaseException:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)
        raise
