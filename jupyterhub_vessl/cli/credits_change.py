"""``credits top-up``, ``grant``, ``refund`` and ``void``: what admins book.

A reference is recorded once: the same command again changes nothing and prints the same, so that a script may
be run again.
"""

from __future__ import annotations

import click

from ..client_credits import CreditsClient
from ..model.errors import NotFound
from ..model.money import format_credits
from ..model.wire_credits import Granted, TopUp
from .credits_read import print_balance, print_grants
from .credits_shared import Link, instant, print_json, prints, reaches_service

# "-5" is an amount that is refused with a sentence, not an option that does not exist
TAKES_AMOUNT = {"ignore_unknown_options": True}
REFERENCE_HELP = "Yours, such as an invoice's number. The same one is recorded once."


@click.command("top-up", context_settings=TAKES_AMOUNT)
@click.argument("amount", metavar="AMOUNT")
@click.option("--reference", metavar="TEXT", required=True, help=REFERENCE_HELP)
@click.option("--note", metavar="TEXT", default="", help="Shown in the ledger.")
@click.option("--currency", metavar="CODE", help="Must be the organization's; a guard against mistakes.")
@prints
@reaches_service
def top_up(link: Link, amount: str, reference: str, note: str, currency: str | None) -> None:
    """Record credits that were paid for, such as 500 or 12.50."""
    done = link.ask(
        lambda client, organization: client.top_up(
            organization, amount=amount, reference=reference, note=note, currency=currency
        )
    )
    _print_top_up(link, done, "Topped up")


@click.command()
@click.option("--top-up", "paid", metavar="TEXT", required=True, help="The reference of the top-up.")
@click.option("--amount", metavar="AMOUNT", required=True, help="How much of it.")
@click.option("--reference", metavar="TEXT", required=True, help="Of the refund. The same one is recorded once.")
@click.option("--note", metavar="TEXT", default="", help="Shown in the ledger.")
@click.option("--currency", metavar="CODE", help="Must be the organization's; a guard against mistakes.")
@prints
@reaches_service
def refund(link: Link, paid: str, amount: str, reference: str, note: str, currency: str | None) -> None:
    """Record that a top-up, or a part of it, was paid back."""
    done = link.ask(
        lambda client, organization: client.refund(
            organization, top_up=paid, amount=amount, reference=reference, note=note, currency=currency
        )
    )
    _print_top_up(link, done, "Refunded")


def _print_top_up(link: Link, done: TopUp, verb: str) -> None:
    if link.as_json:
        print_json(done)
        return
    shown = format_credits(abs(done.amount_micros), done.credits.currency)
    click.echo(f"{verb} {shown} on {instant(done.at_ms)}, recorded as {done.id}.\n")
    print_balance(done.credits)


@click.command(context_settings=TAKES_AMOUNT)
@click.argument("amount", metavar="AMOUNT")
@click.option("--reference", metavar="TEXT", required=True, help=REFERENCE_HELP)
@click.option("--title", metavar="TEXT", default="", help="Shown to people.")
@click.option("--priority", metavar="N", type=int, default=100, help="The lowest is used up first. Default: 100.")
@click.option("--effective", metavar="INSTANT", default="", help="From when on, such as 2026-12-01. Default: now.")
@click.option("--expires", metavar="INSTANT", default="", help="Until when. Default: never.")
@click.option("--gpu-only", is_flag=True, help="Pays only for resource specs with a GPU.")
@click.option("--specs", metavar="NAMES", default="", help="Pays only for these resource specs; commas between them.")
@click.option("--kind", metavar="KIND", default="", help="Pays only for compute, or only for storage.")
@click.option("--currency", metavar="CODE", help="Must be the organization's; a guard against mistakes.")
@prints
@reaches_service
def grant(
    link: Link,
    amount: str,
    reference: str,
    title: str,
    priority: int,
    effective: str,
    expires: str,
    gpu_only: bool,
    specs: str,
    kind: str,
    currency: str | None,
) -> None:
    """Give promotional credits."""
    applies: dict[str, object] = {"gpu": True} if gpu_only else {}
    if kind:
        applies["kind"] = kind
    names = [name.strip() for name in specs.split(",") if name.strip()]
    if names:
        applies["specs"] = names
    done = link.ask(
        lambda client, organization: client.grant(
            organization,
            amount=amount,
            reference=reference,
            title=title,
            priority=priority,
            effective=effective,
            expires=expires,
            applies=applies,
            currency=currency,
        )
    )
    _print_granted(link, done, "Granted", done.grant.amount_micros)


@click.command()
@click.argument("grant", metavar="GRANT")
@click.option("--reason", metavar="TEXT", default="", help="Shown in the ledger.")
@prints
@reaches_service
def void(link: Link, grant: str, reason: str) -> None:
    """Take back what is left of a grant; GRANT is its number or its id."""

    async def work(client: CreditsClient, organization: str) -> Granted:
        known = (await client.grants(organization)).grants
        found = next((g.id for g in known if grant in (g.id, str(g.number))), None)
        if found is None:
            raise NotFound("There is no such grant.")
        return await client.void(organization, found, reason=reason)

    done = link.ask(work)
    _print_granted(link, done, "Took back", done.grant.left_micros)


def _print_granted(link: Link, done: Granted, verb: str, amount_micros: int) -> None:
    if link.as_json:
        print_json(done)
        return
    currency = done.credits.currency
    click.echo(f"{verb} {format_credits(amount_micros, currency)}: grant {done.grant.number}, id {done.grant.id}.\n")
    print_grants((done.grant,), currency)
