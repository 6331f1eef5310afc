"""``jupyterhub-vessl check FILE``: every mistake of a vessl.yaml at once."""

from __future__ import annotations

import json
import sys

import click

from ..model.catalog import Offer
from ..model.errors import OfferError
from ..offer import load_offer


@click.command()
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print the answer.")
def check(file: str, output: str) -> None:
    """Check a vessl.yaml, alone or inside a Helm values file.

    Prints FILE:LINE: path: what is wrong, what is right; one line for each mistake, and exits 1.  Prints one
    line that counts what is offered, and exits 0, when the file is right.
    """
    try:
        offer = load_offer(file)
    except OfferError as error:
        if output == "json":
            problems = [{"line": p.line or 1, "path": p.path, "message": p.message} for p in error.problems]
            click.echo(json.dumps({"file": file, "ok": False, "problems": problems}, indent=2))
        else:
            click.echo("\n".join(error.lines()))
        sys.exit(1)
    if output == "json":
        click.echo(json.dumps({"file": file, "ok": True, "counts": dict(counts(offer))}, indent=2))
    else:
        parts = [f"{number} {_singular(word) if number == 1 else word}" for word, number in counts(offer)]
        click.echo(f"{file}: ok: {', '.join(parts)}")


def counts(offer: Offer) -> list[tuple[str, int]]:
    """How many of each thing the offer has: (word in the plural, number)."""
    storage = offer.storage
    return [
        ("organizations", len(offer.organizations)),
        ("teams", sum(len(organization.teams) for organization in offer.organizations.values())),
        ("clusters", len(offer.clusters)),
        ("resource specs", len(offer.resource_specs)),
        ("images", len(offer.images)),
        ("presets", len(offer.presets)),
        ("volumes", len(storage.cluster.volumes) + len(storage.object.volumes)),
    ]


def _singular(word: str) -> str:
    return word.removesuffix("s")
