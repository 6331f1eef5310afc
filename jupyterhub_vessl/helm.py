"""Helm values for Zero to JupyterHub: several files read as one, and the offer that they hold.

Every value keeps the file and the line that it came from, so that a mistake can be told where somebody wrote it.
What would go wrong with the rest of the values is in `jupyterhub_vessl.helm_rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .model.catalog import Offer
from .model.errors import OfferError, Problem
from .model.references import references
from .offer import DOCUMENT_BYTES_MAX, Reader, parse_offer, problem_of

SUBCHART = "jupyterhub"
"""The key of the chart's values in a chart that depends on it."""
OFFER_FILE = "vessl.yaml"
CHART_KEYS = frozenset(
    {
        *("cull", "custom", "debug", "enabled", "fullnameOverride", "global", "httpRoute", "hub", "imagePullSecret"),
        *("imagePullSecrets", "ingress", "nameOverride", "prePuller", "proxy", "rbac", "scheduling", "singleuser"),
    }
)
"""What chart 4.x knows at the top of its values."""

Keys = tuple[str, ...]
"""The keys from the top of a document to a value."""
Found = Iterator[tuple[Keys, str]]
"""What a rule gives: where a mistake is, and what is right there."""


@dataclass(frozen=True, order=True)
class Place:
    """Where something is written: the number of the file as it was given, its name, and the line from 1."""

    order: int
    file: str
    line: int


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake, where it is and what is right instead."""

    place: Place
    path: str
    message: str

    def line(self) -> str:
        """``FILE:LINE: path: what is right``."""
        return f"{self.place.file}:{self.place.line}: {self.path or '(document)'}: {self.message}"


@dataclass
class Values:
    """What Helm makes of the files: maps merge, everything else replaces, null takes away.

    Attributes
    ----------
    document
        The merged values of the chart itself; those of a chart around it are left out.
    prefix
        Where they are in the files: empty, or the name of the subchart.
    places
        Where each value was written, by its path in ``document``.
    """

    document: dict[str, Any] = field(default_factory=dict)
    prefix: Keys = ()
    places: dict[Keys, Place] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()

    def get(self, *path: str, default: Any = None) -> Any:
        """The value at a path, or ``default`` when there is none."""
        value: Any = self.document
        for key in path:
            if not isinstance(value, Mapping) or key not in value:
                return default
            value = value[key]
        return value

    def map(self, *path: str) -> Mapping[str, Any]:
        """The map at a path; an empty one when there is something else."""
        value = self.get(*path)
        return value if isinstance(value, Mapping) else {}

    def list(self, *path: str) -> Sequence[Any]:
        """The list at a path; an empty one when there is something else."""
        value = self.get(*path)
        return value if isinstance(value, list) else ()

    def place(self, path: Keys) -> Place:
        """Where a value is written; for one that is missing, where what should hold it is."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path]

    def mistake(self, path: Keys, message: str) -> Mistake:
        """A mistake at a path of the chart's values."""
        return Mistake(self.place(path), ".".join((*self.prefix, *path)), message)

    def lay_over(self, value: Any, lines: Mapping[Keys, Place], path: Keys = ()) -> None:
        """Add one more file's value at a path."""
        there = self.get(*path) if path else self.document
        if isinstance(there, dict) and isinstance(value, Mapping):
            self.places[path] = lines[path]
            for key, inner in value.items():
                self.lay_over(inner, lines, (*path, key))
            return
        if path in self.places:
            for old in [known for known in self.places if known[: len(path)] == path]:
                del self.places[old]
        parent = self.get(*path[:-1]) if path[:-1] else self.document
        if value is None:
            parent.pop(path[-1], None)
        elif isinstance(value, Mapping):
            parent[path[-1]] = {}
            self.lay_over(value, lines, path)
        else:
            parent[path[-1]] = value
            below = [known for known in lines if known[: len(path)] == path] if isinstance(value, list) else [path]
            self.places.update({known: lines[known] for known in below})


@dataclass(frozen=True)
class Document:
    """One file: what is in it, the line of each path, and keys that are written twice."""

    file: str
    content: Any
    lines: Mapping[Keys, int]
    problems: tuple[Problem, ...]

    @property
    def is_values(self) -> bool:
        """Whether this is for the chart, and not an offer by itself."""
        if not isinstance(self.content, Mapping) or "organizations" in self.content:
            return False
        return bool(CHART_KEYS & set(self.content)) or isinstance(self.content.get(SUBCHART), Mapping)


def read(file: str | Path) -> Document | None:
    """One YAML file; None when it cannot be read or is no YAML, and `load_offer` can say why."""
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(DOCUMENT_BYTES_MAX + 1)
        if len(data) > DOCUMENT_BYTES_MAX:
            return None
        node = yaml.compose(data.decode(), Loader=yaml.SafeLoader)
        reader = Reader()
        content = reader.value(node, ()) if node is not None else {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return Document(str(file), content, reader.lines, tuple(reader.problems))


def merge(documents: Iterable[Document]) -> Values:
    """The files as Helm merges them with ``-f`` once for each, in this order."""
    documents = list(documents)
    subchart = any("hub" not in document.content and SUBCHART in document.content for document in documents)
    prefix: Keys = (SUBCHART,) if subchart else ()
    values = Values(prefix=prefix)
    for order, document in enumerate(documents):
        content = document.content.get(SUBCHART, {}) if subchart else document.content
        lines = {
            path[len(prefix) :]: Place(order, document.file, line)
            for path, line in document.lines.items()
            if path[: len(prefix)] == prefix
        }
        lines.setdefault((), Place(order, document.file, 1))
        values.lay_over(content if isinstance(content, Mapping) else {}, lines)
        values.mistakes += tuple(
            Mistake(Place(order, document.file, p.line), p.path, p.message) for p in document.problems
        )
    return values


def offer_path(values: Values) -> Keys | None:
    """Where the offer is: the file of hub.extraFiles that is mounted as vessl.yaml, or is called vessl."""
    files = {key: file for key, file in values.map("hub", "extraFiles").items() if isinstance(file, Mapping)}
    mounted = [key for key, file in files.items() if Path(str(file.get("mountPath", ""))).name == OFFER_FILE]
    for key in [*mounted, *(["vessl"] if "vessl" in files else [])]:
        for kind in ("data", "stringData"):
            if kind in files[key]:
                return ("hub", "extraFiles", key, kind)
    return None


def check_offer(values: Values) -> tuple[Offer | None, list[Mistake]]:
    """The offer in the values, and every mistake in it, with paths from the top of the offer."""
    path = offer_path(values)
    if path is None:
        missing = ("hub", "extraFiles", "vessl", "data")
        return None, [values.mistake(missing, "is missing; the offer goes there")]
    content = values.get(*path)
    if isinstance(content, str):
        return _check_text(values, path, content)
    offer: Offer | None = None
    problems: list[Problem] = []
    try:
        offer = Offer.model_validate(content)
    except ValidationError as error:
        problems = [problem_of(item, content) for item in error.errors(include_url=False)]
    if isinstance(content, Mapping):
        problems += [Problem(where, message) for where, message in references(content)]
    found = {
        Mistake(values.place((*path, *(p.path.split(".") if p.path else ()))), p.path, p.message) for p in problems
    }
    return (offer if not found else None), sorted(found)


def _check_text(values: Values, path: Keys, text: str) -> tuple[Offer | None, list[Mistake]]:
    """An offer that is written as text: a block of lines below its key, or all in the key's own line."""
    key = values.place(path)
    lines_above = key.line if "\n" in text.strip() else key.line - 1
    try:
        return parse_offer(text, source=key.file), []
    except OfferError as error:
        return None, [
            Mistake(Place(key.order, key.file, lines_above + max(1, p.line)), p.path, p.message) for p in error.problems
        ]
