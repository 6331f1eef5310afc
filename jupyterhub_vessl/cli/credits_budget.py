"""``credits budget list`` and ``set``: how much teams and people may spend and have at once."""

from __future__ import annotations

from decimal import Decimal

import click

from ..client_credits import CreditsClient
from ..model.money import MICROS, format_credits
from ..model.units import GIB, KIB, MIB, TIB, format_bytes
from ..model.wire_credits import BudgetList, BudgetView, LimitsView
from .credits_shared import Link, print_json, print_table, prints, reaches_service

NONE = "none"
_SIZES = {"Ti": TIB, "Gi": GIB, "Mi": MIB, "Ki": KIB, "T": 10**12, "G": 10**9, "M": 10**6, "K": 10**3}


@click.group()
def budget() -> None:
    """See and set budgets and caps."""


@budget.command("list")
@prints
@reaches_service
def list_budgets(link: Link) -> None:
    """List budgets and caps with what is used of them; of two limits the lower one holds."""
    found = link.ask(lambda client, organization: client.budgets(organization))
    print_json(found) if link.as_json else _print(found, found.budgets)


@budget.command("set")
@click.option("--team", metavar="NAME", default="", help="Of a team; with --user, of a person in it.")
@click.option("--user", metavar="NAME", default="", help="Of a person.")
@click.option("--day", metavar="AMOUNT", help="Credits in a UTC day.")
@click.option("--month", metavar="AMOUNT", help="Credits in a UTC month.")
@click.option("--workspaces", metavar="N", help="Pending and running at once.")
@click.option("--gpus", metavar="N", help="GPUs at once.")
@click.option("--storage", metavar="SIZE", help="Provisioned volumes, such as 500Gi.")
@prints
@reaches_service
def set_budget(link: Link, team: str, user: str, **wanted: str | None) -> None:
    """Set limits; the word none takes one away, and what is not named stays as it is.

    Without --team and --user they are the organization's.
    """
    if all(value is None for value in wanted.values()):
        raise click.UsageError("Name a limit: --day, --month, --workspaces, --gpus or --storage.")

    async def work(client: CreditsClient, organization: str) -> BudgetList:
        known = await client.budgets(organization)
        limits = next((as_typed(b.set) for b in known.budgets if (b.team, b.user) == (team, user)), {})
        limits |= {name: value for name, value in wanted.items() if value is not None}
        kept = {name: value for name, value in limits.items() if value.lower() != NONE}
        return await client.set_budget(organization, team=team, user=user, limits=kept)

    found = link.ask(work)
    if link.as_json:
        print_json(found)
        return
    _print(found, tuple(b for b in found.budgets if (b.team, b.user) == (team, user)))


def as_typed(limits: LimitsView) -> dict[str, str]:
    """Limits as a person would type them, to be sent back as they are."""
    found = {
        "day": _credits(limits.day_micros),
        "month": _credits(limits.month_micros),
        "workspaces": None if limits.workspaces is None else str(limits.workspaces),
        "gpus": None if limits.gpus is None else str(limits.gpus),
        "storage": _size(limits.storage_bytes),
    }
    return {name: value for name, value in found.items() if value is not None}


def _credits(micros: int | None) -> str | None:
    return None if micros is None else f"{Decimal(micros) / MICROS:f}"


def _size(size_bytes: int | None) -> str | None:
    """The size in a unit in which it is exact with three decimals; every size that was typed has one."""
    if size_bytes is None:
        return None
    for name, unit in _SIZES.items():
        thousandths = -(-size_bytes * 1000 // unit)
        if thousandths * unit // 1000 == size_bytes and thousandths < 10**12:
            return f"{Decimal(thousandths) / 1000:f}{name}"
    return f"{-(-size_bytes // KIB)}Ki"


def _print(found: BudgetList, budgets: tuple[BudgetView, ...]) -> None:
    rows = [row for budget in budgets for row in _rows(budget, found.currency)]
    print_table(("whose", "limit", "used", "set", "in the offer"), rows, right=("used", "set", "in the offer"))


def _rows(budget: BudgetView, currency: str) -> list[list[str]]:
    def money(micros: int) -> str:
        return format_credits(micros, currency)

    kinds = (
        ("credits today", "day_micros", money),
        ("credits this month", "month_micros", money),
        ("workspaces", "workspaces", str),
        ("GPUs", "gpus", str),
        ("storage", "storage_bytes", format_bytes),
    )
    rows: list[list[str]] = []
    for title, name, shown in kinds:
        limits = [getattr(budget.set, name), getattr(budget.offered, name)]
        texts = [NONE if limit is None else shown(limit) for limit in limits]
        rows.append(["" if rows else budget.title, title, shown(getattr(budget.use, name)), *texts])
    return rows
