"""vessl.yaml and the REST API, from the pydantic models and the route table."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from jupyterhub_vessl.model import catalog, request
from jupyterhub_vessl.model.errors import PUBLIC_ERRORS
from jupyterhub_vessl.model.money import MICROS
from jupyterhub_vessl.model.text import NAME_PATTERN
from jupyterhub_vessl.model.units import GIB, KIB, MIB, TIB
from jupyterhub_vessl.model.wire import ErrorBody, Inbound
from jupyterhub_vessl.service.api.routes import ROUTES, Route

from .text import prose, sections, table
from .words import KEYS, QUERY, REFUSALS

_BODIES = (Inbound, request.WorkspaceRequest, request.PortRequest)


# -- types, as people write them ----------------------------------------------


def short_name(function: Any) -> str:
    return str(getattr(function, "__name__", function)).strip("_")


# Validators that turn what people write into integers with a unit, by name.
WRITTEN = {
    "price": "price",
    "amount": "credits",
    "title": "text",
    "mount_path": "mount path",
    "parse_size_bytes": "size",
    "parse_cpu_millis": "number of cores",
    "parse_duration_seconds": "duration",
    "image_url": "image reference",
    "label_key": "label",
    "label_value": "text",
    "object_name": "name of a Kubernetes object",
    "resource_name": "name of a device plugin's resource",
    "variables": "map of text",
    "check_environment": "map of text",
    "port": "port number",
    "path": "mount path",
    "name": "name",
    "text": "text",
    "reference": "text",
    "grace": "duration or `never`",
    "limit_micros": "credits",
    "limit": "credits",
    "limit_bytes": "size",
    "size": "size",
    "count": "whole number",
    "instant_ms": "date or instant",
    "given_reference": "text",
    "currency": "text or null",
    "person_or_team": "text",
    "target": "address",
}
CHECK_NAME = get_args(catalog.Name)[1].func
_PLAIN = {str: "text", int: "whole number", bool: "true or false", type(None): "null", Any: "any JSON"}


def type_of(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    for mark in metadata:
        function = getattr(mark, "func", None)
        if function is CHECK_NAME:
            return "name"
        if short_name(function) in WRITTEN:
            return WRITTEN[short_name(function)]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_of(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return " or ".join(type_of(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin is dict:
        return f"map of {type_of(arguments[1])}"
    if origin is tuple:
        return f"list of {type_of(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.__name__
    return _PLAIN[annotation] + _limits(annotation, metadata)


def _limits(annotation: Any, metadata: Sequence[Any]) -> str:
    least = next((mark.ge for mark in metadata if isinstance(mark, Ge)), None)
    most = next((mark.le for mark in metadata if isinstance(mark, Le)), None)
    longest = next((mark.max_length for mark in metadata if isinstance(mark, MaxLen)), None)
    if annotation is int and least is not None and most is not None:
        return f" from {least:,} to {most:,}"
    return f" of at most {longest} characters" if annotation is str and longest is not None else ""


def inner_models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from inner_models(argument)


def models(*roots: type[BaseModel]) -> list[type[BaseModel]]:
    """The models and all that their fields are made of, each once, in the order in which they are met."""
    found: dict[type[BaseModel], None] = {}
    waiting = list(roots)
    while waiting:
        model = waiting.pop(0)
        if model not in found:
            found[model] = None
            waiting += [inner for field in model.model_fields.values() for inner in inner_models(field.annotation)]
    return list(found)


def fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


# -- vessl.yaml ---------------------------------------------------------------


@dataclass(frozen=True)
class _Key:
    path: str
    type: str
    default: str
    meaning: str


def vessl_yaml() -> list[str]:
    lines = [
        "# vessl.yaml",
        "",
        "Every key of the offer. [Write an offer](../how-to/write-an-offer.md) explains it with examples, and",
        "`jupyterhub-vessl check FILE` finds mistakes. Unknown keys are mistakes. `<name>` is a name of your choice.",
        "",
        "| written | is | for example |",
        "|---|---|---|",
        "| name | 1 to 63 lower-case letters, digits and hyphens | `cpu-small` |",
        "| size | a number with its unit: Ki, Mi, Gi, Ti (1024) or K, M, G, T (1000) | `20Gi` |",
        "| duration | a whole number with its unit: s, m, h or d | `24h` |",
        "| price, credits | an amount of the organization's currency, at most six decimals | `2.39` |",
        "| number of cores | at most three decimals | `0.5` |",
        "| mount path | absolute, outside the system's folders | `/data` |",
        "",
        f"As a regular expression, a name is `{NAME_PATTERN}`.",
        "",
    ]
    for name, field in fields(catalog.Offer):
        lines += [f"## {name}", ""]
        (model,) = inner_models(field.annotation)
        lines += [prose(model.__doc__), ""]
        rows = [(f"`{k.path}`", k.type, k.default, k.meaning) for k in _keys(name, field, f"Offer.{name}")]
        lines += table(["key", "type", "default", "meaning"], rows)
    return lines


def _keys(path: str, field: Any, words: str) -> Iterator[_Key]:
    inner = list(inner_models(field.annotation))
    kind = type_of(field.annotation, field.metadata).replace(" or null", "")
    for model in inner:
        kind = kind.replace(model.__name__, "map" if kind == model.__name__ else "maps")
    yield _Key(path, kind, default_of(field, kind), KEYS[words])
    for model in inner:
        origin = get_origin(field.annotation)
        below = f"{path}.<name>" if origin is dict else f"{path}[]" if origin is tuple else path
        for name, part in fields(model):
            yield from _keys(f"{below}.{name}", part, f"{model.__name__}.{name}")


def default_of(field: Any, kind: str) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "as below"
    if value in ({}, ()):
        return "empty"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if kind in ("price", "credits"):
        return f"`{(Decimal(value) / MICROS).normalize():f}`"
    if kind == "list of credits":
        return "`[" + ", ".join(f"{(Decimal(micros) / MICROS).normalize():f}" for micros in value) + "]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if kind == "size":
        unit, name = next((u, n) for u, n in ((TIB, "Ti"), (GIB, "Gi"), (MIB, "Mi"), (KIB, "Ki")) if not value % u)
        return f"`{value // unit}{name}`"
    return f"`{_duration(value)}`" if kind.startswith("duration") else f"`{value}`"


def _duration(seconds: int) -> str:
    """In the largest unit that leaves no rest; a day is easier to compare as hours."""
    unit, name = next((u, n) for u, n in ((3600, "h"), (60, "m"), (1, "s")) if not seconds % u)
    return f"{seconds // unit}{name}"


# -- REST API -----------------------------------------------------------------

_CALLERS = {
    "person": "a signed-in person",
    "workspace": "a signed-in person, or the workspace with the token of its own server",
    "spawner": "the hub's spawner",
    "anybody": "anybody",
}


def rest_api() -> list[str]:
    rows = [
        (f"`{route.verb}`", f"[`{route.path}`](#{_anchor(f'{route.verb} {route.path}')})", _CALLERS[route.caller])
        for route in ROUTES
    ]
    lines = [
        "# REST API",
        "",
        "Paths are below `/services/vessl/api/v1/` (after the hub's `base_url`). Send a hub token as",
        "`Authorization: token …`; its owner must be in a team, and a token with its own scopes needs",
        "`access:services!service=vessl`. Only the token of the service `vessl-spawner` counts as the hub's spawner.",
        "Bodies and answers are JSON. Unknown keys in a body are refused; ignore unknown keys in answers, so that",
        "your program works with newer versions. `openapi.json` says the same to programs.",
        "",
        "Money is a whole number of micro-credits (`…_micros`, 1,000,000 are one credit); only an amount that you send",
        'is text, such as `"12.50"`. An instant is milliseconds since 1970, UTC (`…_ms`), a size is bytes (`…_bytes`),',
        "cores are thousandths (`…_millis`).",
        "",
        *table(["verb", "path", "who may call"], rows),
        "## Refusals",
        "",
        "A refusal has the body [ErrorBody](#errorbody) and changes nothing.",
        "",
        *table(
            ["status", "code", "meaning"],
            [
                *((str(s), f"`{error.default_code}`", prose(error.__doc__)) for s, error in PUBLIC_ERRORS.items()),
                (
                    "4xx",
                    "`http`",
                    "The request was refused before it was read, such as a verb that a path does not have.",
                ),
                (
                    "500",
                    "`internal`",
                    "Something is wrong in the service; the hint has a number that its log explains.",
                ),
            ],
        ),
    ]
    for route in ROUTES:
        lines += _route(route)
    roots = [m for route in ROUTES for m in (route.body, route.answer) if m is not None]
    lines += ["## Bodies and answers", ""]
    for model in models(*roots, ErrorBody, request.WorkspaceRequest):
        lines += _model(model)
    return lines


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _route(route: Route) -> list[str]:
    key = f"{route.verb} {route.path}"
    statuses = set(REFUSALS.get(key, ()))
    refused = {"person": {401, 503}, "workspace": {401, 503}, "spawner": {401, 403, 503}, "anybody": set()}
    statuses |= refused[route.caller]
    statuses |= ({400} if route.body else set()) | ({404} if "{" in route.path else set())
    lines = [f"### {key}", "", f"{route.summary}. For {_CALLERS[route.caller]}.", ""]
    lines += [f"* query `{name}`: {QUERY[name]}" for name in route.query]
    if route.body:
        lines.append(f"* body: [{route.body.__name__}](#{route.body.__name__.lower()})")
    answer = (
        f"[{route.answer.__name__}](#{route.answer.__name__.lower()})" if route.answer else "an OpenAPI 3.1 document"
    )
    lines.append(f"* answer: {route.status}, {answer}")
    if statuses:
        lines.append("* refusals: " + ", ".join(f"{s} `{PUBLIC_ERRORS[s].default_code}`" for s in sorted(statuses)))
    return [*lines, ""]


def _as_json(text: str) -> str:
    for python, json in (("None", "null"), ("True", "true"), ("False", "false")):
        text = re.sub(rf"\b{python}\b", json, text)
    return text


def _model(model: type[BaseModel]) -> list[str]:
    about, parts = sections(model.__doc__)
    names = {inner.__name__ for field in model.model_fields.values() for inner in inner_models(field.annotation)}
    meanings = parts.get("Attributes", {})
    rows = []
    for name, field in model.model_fields.items():
        kind = type_of(field.annotation, field.metadata)
        kind = " ".join(f"[{word}](#{word.lower()})" if word in names else word for word in kind.split(" "))
        rows.append((f"`{name}`", kind, "yes" if field.is_required() else "no", meanings.get(name, "")))
    heads = ["field", "type", "required", "meaning"]
    if not issubclass(model, _BODIES):
        rows, heads = [(r[0], r[1], r[3]) for r in rows], ["field", "type", "meaning"]
    if not meanings:
        rows, heads = [r[:-1] for r in rows], heads[:-1]
    return [_as_json(line) for line in (f"### {model.__name__}", "", about, "", *table(heads, rows))]
