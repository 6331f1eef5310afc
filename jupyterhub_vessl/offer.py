"""Reading vessl.yaml: text → `Offer`, or every mistake at once with its line.

YAML is parsed here, at the edge, into plain values with the line of each one.  Numbers with a point become
exact decimals (2.39 is 2.39), and a key written twice is a mistake, not a silent overwrite.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .model.catalog import Offer
from .model.errors import OfferError, Problem
from .model.references import references
from .model.text import bounded

DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
NESTING_MAX = 40
Lines = dict[tuple[str, ...], int]


def load_offer(path: str | Path) -> Offer:
    """Read a vessl.yaml, alone or inside a Helm values file (``hub.extraFiles.vessl.data``).

    Raises `OfferError` with every problem; also when the file cannot be read.
    """
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
    except OSError as error:
        raise OfferError(source, (Problem("", f"cannot be read: {error.strerror}"),)) from None
    if len(data) > DOCUMENT_BYTES_MAX:
        raise OfferError(source, (Problem("", f"is larger than {DOCUMENT_BYTES_MAX // 1024**2} MiB"),))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise OfferError(source, (Problem("", "is not UTF-8 text"),)) from None
    return parse_offer(text, source=source)


def parse_offer(text: str, *, source: str = "vessl.yaml") -> Offer:
    """Parse the text of a vessl.yaml; raises `OfferError` with every problem found, in the order of the file."""
    reader = Reader()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = reader.value(node, ()) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise OfferError(source, (Problem("", f"is not YAML: {error.problem}", line),)) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise OfferError(source, (Problem("", f"is not YAML: {bounded(error)}", 1),)) from None
    prefix: tuple[str, ...] = ()
    if isinstance(document, Mapping) and "hub" in document and "organizations" not in document:
        document, prefix = _inside_helm_values(document, source)
    problems = [*reader.problems]
    offer: Offer | None = None
    try:
        offer = Offer.model_validate(document)
    except ValidationError as error:
        problems += [problem_of(item, document) for item in error.errors(include_url=False)]
    if isinstance(document, Mapping):
        problems += [Problem(path, message) for path, message in references(document)]
    if problems or offer is None:
        located = {_located(problem, reader.lines, prefix) for problem in problems}
        raise OfferError(source, tuple(sorted(located, key=lambda p: (p.line, p.path, p.message))))
    return offer


class Reader:
    """Turns YAML nodes into plain values and remembers the line of each path."""

    def __init__(self) -> None:
        self.lines: Lines = {}
        self.problems: list[Problem] = []
        self._scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > NESTING_MAX:
            raise ValueError(f"nested more than {NESTING_MAX} deep")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, str(index))) for index, item in enumerate(node.value)]
        if node.tag == "tag:yaml.org,2002:float":
            text = node.value.replace("_", "")
            return Decimal(text) if set(text) <= set("0123456789.-+eE") else node.value
        if node.tag in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary"):
            return node.value
        return self._scalars.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            line, here = key_node.start_mark.line + 1, (*path, key)
            if key in result:
                first = self.lines[here]
                self.problems.append(
                    Problem(".".join(here), f"is written twice (first on line {first}); keep one", line)
                )
                continue
            self.lines[here] = line
            result[key] = self.value(value_node, here)
        return result


def _inside_helm_values(document: Mapping[str, Any], source: str) -> tuple[Any, tuple[str, ...]]:
    path = ("hub", "extraFiles", "vessl", "data")
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        raise OfferError(source, (Problem("hub.extraFiles.vessl.data", "is missing; the offer goes there"),))
    return value, path


def problem_of(item: Any, document: Any) -> Problem:
    keys = [str(part) for part in item["loc"] if part != "[key]"]
    kind, message = item["type"], str(item["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        message = "is not a known key; " + _known_keys(keys[:-1])
    elif kind == "missing":
        message = "is missing"
    elif kind == "literal_error" or kind == "enum":
        message = f"write {item['ctx']['expected'].replace(' or ', ' or ')}"
    elif kind in ("model_type", "dict_type", "model_attributes_type"):
        message = "write a map of keys and values here"
    elif kind == "too_short":
        message = "needs at least one entry"
    else:
        message = message.replace("Input should be", "write").replace("a valid ", "a ")
    return Problem(".".join(keys), message)


def _known_keys(keys: list[str]) -> str:
    """The keys that may stand beside an unknown one: walk the models along the path."""
    model: Any = Offer
    for key in keys:
        fields = getattr(model, "model_fields", None)
        if fields is None:
            break
        field = fields.get(key) or next((f for f in fields.values() if f.alias == key), None)
        if field is None:
            continue  # a name that the admin chose: the model of the map's values is already in hand
        model = _value_model(field.annotation)
    fields = getattr(model, "model_fields", {})
    names = [field.alias or name for name, field in fields.items()]
    return f"known here: {', '.join(names)}" if names else "remove it"


def _value_model(annotation: Any) -> Any:
    """The model inside ``X``, ``X | None``, ``dict[str, X]`` or ``tuple[X, ...]``; the annotation itself if none."""
    if hasattr(annotation, "model_fields"):
        return annotation
    for part in reversed(getattr(annotation, "__args__", ())):
        found = _value_model(part)
        if hasattr(found, "model_fields"):
            return found
    return annotation


def _located(problem: Problem, lines: Lines, prefix: tuple[str, ...]) -> Problem:
    if problem.line:
        return problem
    path = (*prefix, *problem.path.split(".")) if problem.path else prefix
    while path and path not in lines:
        path = path[:-1]
    return Problem(problem.path, problem.message, lines.get(path, 1))
