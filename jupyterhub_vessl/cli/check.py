"""``jupyterhub-vessl check FILE…``: every mistake of an offer, or of Helm values with an offer in them, at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from ..helm import Document, Mistake, Place, check_offer, merge, read
from ..helm_rules import check_values, is_whole
from ..model.catalog import Offer
from ..model.errors import OfferError
from ..offer import load_offer

PART = "only a part: to check the whole, give values.yaml of helm-values before it"


@dataclass(frozen=True)
class Answer:
    """What is said of a file, or of Helm values in several files: mistakes, or what is offered."""

    files: tuple[str, ...]
    mistakes: tuple[Mistake, ...] = ()
    offer: Offer | None = None
    note: str = ""

    def lines(self) -> list[str]:
        """For people: one line for each mistake, or one line that counts what is offered."""
        if self.mistakes or self.offer is None:
            return [mistake.line() for mistake in self.mistakes]
        parts = [f"{number} {_singular(word) if number == 1 else word}" for word, number in counts(self.offer)]
        note = f" ({self.note})" if self.note else ""
        return [f"{' + '.join(self.files)}: ok: {', '.join(parts)}{note}"]

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        answer: dict[str, Any] = {"file": self.files[0], "files": list(self.files), "ok": not self.mistakes}
        if self.offer is not None and not self.mistakes:
            return {**answer, "counts": dict(counts(self.offer))}
        problems = [
            {"file": m.place.file, "line": m.place.line, "path": m.path, "message": m.message} for m in self.mistakes
        ]
        return {**answer, "problems": problems}


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print the answer.")
@click.option("--chart-schema", metavar="FILE", help="values.schema.json of the chart, to check Helm values against.")
def check(files: tuple[str, ...], output: str, chart_schema: str | None) -> None:
    """Check a vessl.yaml, or Helm values for Zero to JupyterHub with an offer in them.

    Several values files are merged as Helm does with -f for each: maps merge, lists and everything else replace.
    Beside the offer, their wiring is looked at: the service, its port, role and token, the spawner, secrets in clear
    text, and keys that the chart refuses.

    Prints FILE:LINE: path: what is right; one line for each mistake, and exits 1.  Prints one line that counts what
    is offered, and exits 0, when all is right.
    """
    schema = _schema(chart_schema) if chart_schema else None
    documents = {file: read(file) for file in files}
    values = {file: document for file, document in documents.items() if document is not None and document.is_values}
    answers = [_plain(file) for file in documents if file not in values]
    if values:
        answers.append(_values(list(values.values()), schema))
    if output == "json":
        told = [answer.as_json() for answer in answers]
        click.echo(json.dumps(told[0] if len(told) == 1 else told, indent=2))
    else:
        click.echo("\n".join(line for answer in answers for line in answer.lines()))
    sys.exit(any(answer.mistakes for answer in answers))


def _plain(file: str) -> Answer:
    try:
        return Answer((file,), offer=load_offer(file))
    except OfferError as error:
        return Answer((file,), tuple(Mistake(Place(0, file, p.line or 1), p.path, p.message) for p in error.problems))


def _values(documents: Sequence[Document], schema: Any) -> Answer:
    values = merge(documents)
    offer, mistakes = check_offer(values)
    mistakes = sorted({*mistakes, *check_values(values, offer, schema)})
    files = tuple(document.file for document in documents)
    return Answer(files, tuple(mistakes), offer, "" if is_whole(values) else PART)


def _schema(file: str) -> Any:
    try:
        with open(file, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"--chart-schema {file} cannot be used: {error}") from None


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
