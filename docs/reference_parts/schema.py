"""The JSON schema of vessl.yaml, from the same models and words as its page in the reference.

Pydantic's own schema would describe the parsed offer (bytes, micro-credits); this one describes what people write.
A key of the models is in here by itself; only a new *way of writing* a value needs an entry in `FORMS`.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jupyterhub_vessl.model import catalog
from jupyterhub_vessl.model.text import NAME_PATTERN

from .models import CHECK_NAME, WRITTEN, default_of, fields, inner_models, models, short_name, type_of
from .text import prose
from .words import KEYS

_AMOUNT = r"^[0-9]+(\.[0-9]{1,6})?$"
_DURATION = {"type": "string", "pattern": "^[0-9]{1,6}[smhd]$", "examples": ["30s", "10m", "24h", "7d"]}
_CREDITS = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _AMOUNT}], "examples": [10, 2.39]}

FORMS: dict[str, dict[str, Any]] = {
    "address": {"type": "string", "examples": ["mailto:ops@acme.example", "env:ACME_SLACK_URL"]},
    "credits": _CREDITS,
    "duration": _DURATION,
    "duration or `never`": {"anyOf": [_DURATION, {"const": "never"}]},
    "image reference": {
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$",
        "examples": ["quay.io/jupyter/scipy-notebook:2026-10-20"],
    },
    "label": {"type": "string", "examples": ["nvidia.com/gpu.product"]},
    "map of text": {"type": "object", "additionalProperties": {"type": "string"}},
    "mount path": {"type": "string", "pattern": "^/", "examples": ["/data"]},
    "name": {"type": "string", "pattern": f"^{NAME_PATTERN}$"},
    "name of a Kubernetes object": {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"},
    "name of a device plugin's resource": {"type": "string", "pattern": "/", "examples": ["nvidia.com/gpu"]},
    "number of cores": {"type": "number", "exclusiveMinimum": 0, "maximum": 10_000, "examples": [2, 0.5]},
    "price": _CREDITS,
    "size": {
        "type": "string",
        "pattern": r"^[0-9]{1,9}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|K|M|G|T)$",
        "examples": ["512Mi", "20Gi", "2Ti"],
    },
    "text": {"type": "string"},
}
"""How each way of writing in `WRITTEN` looks in JSON."""

_HOW = {
    "address": "mailto: and an address, env: and the name of a variable, or the URL of a webhook.",
    "credits": "An amount of the organization's currency, at most six decimals.",
    "duration": "A whole number with its unit: s, m, h or d.",
    "duration or `never`": "A whole number with its unit (s, m, h or d), or never.",
    "mount path": "Absolute, outside the system's folders.",
    "name": "1 to 63 lower-case letters, digits and hyphens.",
    "number of cores": "At most three decimals.",
    "price": "An amount of the organization's currency, at most six decimals.",
    "size": "A number with its unit: Ki, Mi, Gi, Ti (1024) or K, M, G, T (1000).",
}
_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}
_BOUNDS = {Ge: ("ge", "minimum"), Gt: ("gt", "exclusiveMinimum"), Le: ("le", "maximum"), Lt: ("lt", "exclusiveMaximum")}
_LENGTHS = {
    "string": ("minLength", "maxLength"),
    "object": ("minProperties", "maxProperties"),
    "array": ("minItems", "maxItems"),
}


def offer_schema() -> dict[str, Any]:
    """The schema as a JSON value, in the order of the models."""
    whole = _model(catalog.Offer)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "vessl.yaml",
        "description": "What people may choose and what it costs.",
        "$comment": "Written by docs/make_schema.py from the code. Change the code and run it again.",
        **{key: value for key, value in whole.items() if key != "description"},
        "definitions": {m.__name__: _model(m) for m in models(catalog.Offer) if m is not catalog.Offer},
    }


def _model(model: type[BaseModel]) -> dict[str, Any]:
    keys = {name: _key(model, name, field) for name, field in fields(model)}
    required = [name for name, field in fields(model) if field.is_required()]
    return {
        "type": "object",
        "description": prose(model.__doc__),
        "properties": keys,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _key(model: type[BaseModel], name: str, field: FieldInfo) -> dict[str, Any]:
    kind = type_of(field.annotation, field.metadata).replace(" or null", "")
    default = "as below" if list(inner_models(field.annotation)) else default_of(field, kind)
    words = [KEYS.get(f"{model.__name__}.{name}", ""), _HOW.get(kind, "")]
    if default.startswith("`"):
        words.append(f"Default: {default.strip('`')}.")
    form = _form(field.annotation, field.metadata)
    return {"description": " ".join(filter(None, words)), **({"allOf": [form]} if "$ref" in form else form)}


def _form(annotation: Any, metadata: Sequence[Any] = ()) -> dict[str, Any]:
    """What people write for a value of this type; ``metadata`` are the marks of the type and its field."""
    for mark in metadata:
        function = getattr(mark, "func", None)
        written = "name" if function is CHECK_NAME else WRITTEN.get(short_name(function))
        if written is not None:
            return _with_null(_bounded(FORMS.get(written, {}), metadata), annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _form(arguments[0], [*arguments[1:], *metadata])
    if origin in (Union, types.UnionType):
        return {"anyOf": [_form(argument, () if argument is type(None) else metadata) for argument in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is dict:
        names = _form(arguments[0])
        inner = {"type": "object", "propertyNames": names, "additionalProperties": _form(arguments[1])}
        return _bounded(inner, metadata)
    if origin is tuple:
        return _bounded({"type": "array", "items": _form(arguments[0])}, metadata)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {"enum": [member.value for member in annotation]}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {"$ref": f"#/definitions/{annotation.__name__}"}
    return _bounded(_PLAIN.get(annotation, {}), metadata)


def _with_null(form: dict[str, Any], annotation: Any) -> dict[str, Any]:
    return {"anyOf": [form, {"type": "null"}]} if type(None) in get_args(annotation) else form


def _bounded(form: dict[str, Any], metadata: Sequence[Any]) -> dict[str, Any]:
    """The form with the limits that its marks set; a value that people write with a unit keeps its own."""
    found = dict(form)
    for mark in metadata:
        if found.get("type") == "integer" and type(mark) in _BOUNDS:
            attribute, word = _BOUNDS[type(mark)]
            found[word] = getattr(mark, attribute)
        least, most = _LENGTHS.get(str(found.get("type")), ("", ""))
        if least and isinstance(mark, MinLen):
            found[least] = mark.min_length
        if most and isinstance(mark, MaxLen):
            found[most] = mark.max_length
        if found.get("type") == "string" and getattr(mark, "pattern", None):
            found["pattern"] = mark.pattern
    return found
