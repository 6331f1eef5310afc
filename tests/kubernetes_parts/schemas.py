"""The published schemas, strict: a quick test that only says yes, and `kubernetes-validate` itself for every no.

The package builds its validator anew for each object (up to 0.3 s for a pod).  The schemas use few words, so that a
tree of closures answers in well under a millisecond; what it does not accept is asked again properly.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
from kubernetes_validate import utils as _utils  # type: ignore[import-untyped]

from .kinds import BY_KIND
from .problems import Problem, Refused, bad_request, invalid

Accepts = Callable[[Any], bool]

OLDEST = "1.31"
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "object": dict,
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_IGNORED = {"description", "format", "default", "$schema", "$id"}
_KNOWN = {"properties", "type", "required", "additionalProperties", "items", "$ref", "enum", "oneOf"}


def versions() -> tuple[str, ...]:
    """The schema versions from the oldest that we support to the newest there is, as ``major.minor``."""
    found = [".".join(version.split(".")[:2]) for version in _utils.all_versions()]
    return tuple(dict.fromkeys(found[found.index(OLDEST) :]))


def oldest_and_newest() -> tuple[str, ...]:
    """What is checked unless told otherwise."""
    return versions()[0], versions()[-1]


def check_schema(thing: dict[str, Any], wanted: Iterable[str]) -> None:
    """Raise `Refused` (400, 422) unless an object fits the schemas of all versions, with no field that is unknown."""
    for version in wanted:
        if _accepts(version, thing["kind"])(thing):
            continue
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise _refusal(thing, version, error) from None


def name_of(thing: dict[str, Any]) -> str:
    """The name of an object that may be junk."""
    metadata = thing.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def _refusal(thing: dict[str, Any], version: str, error: Any) -> Refused:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
    unknown = re.findall(r"'([^']+)'", error.message) if error.validator == "additionalProperties" else []
    if unknown:
        names = ", ".join(f'unknown field "{f"{path}.{name}".lstrip(".")}"' for name in unknown)
        return bad_request(
            f'{thing["kind"]} in version "{BY_KIND[thing["kind"]].api_version.split("/")[-1]}" cannot be handled as'
            f" a {thing['kind']}: strict decoding error: {names}"
        )
    if error.validator == "required":
        field = f"{path}.{error.message.split(chr(39))[1]}".lstrip(".")
        return invalid(thing["kind"], name_of(thing), [Problem(field, "Required value")], BY_KIND[thing["kind"]].group)
    return bad_request(
        f'{thing["kind"]} in version "v1" cannot be handled as a {thing["kind"]}:'
        f" json: cannot unmarshal: {path or 'object'}: {error.message} (schema {version})"
    )


@cache
def definitions(version: str) -> dict[str, Any]:
    """All definitions of one version's strict schemas."""
    return _load(version, "_definitions.json")["$defs"]


@cache
def schema_of(version: str, kind: str) -> dict[str, Any]:
    """The schema of one of our kinds."""
    api_version = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", BY_KIND[kind].api_version)
    return _load(version, f"{kind.lower()}-{api_version}.json")


def _load(version: str, name: str) -> dict[str, Any]:
    folder = importlib.resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    return json.loads((folder / name).read_text())


@cache
def _accepts(version: str, kind: str) -> Accepts:
    return _compile(version, schema_of(version, kind))


@cache
def _accepts_definition(version: str, name: str) -> Accepts:
    return _compile(version, definitions(version)[name])


def _compile(version: str, schema: dict[str, Any]) -> Accepts:
    unknown = {word for word in schema if word not in _KNOWN | _IGNORED and not word.startswith("x-")}
    if unknown:
        raise AssertionError(f"the schemas use new words: {sorted(unknown)}")
    tests: list[Accepts] = []
    if "$ref" in schema:
        tests.append(_reference(version, schema["$ref"].rpartition("/")[2]))
    if "type" in schema:
        tests.append(_type_test(schema["type"]))
    if "enum" in schema:
        allowed = tuple(schema["enum"])
        tests.append(lambda value: value in allowed)
    if "oneOf" in schema:
        parts = [_compile(version, part) for part in schema["oneOf"]]
        tests.append(lambda value: sum(part(value) for part in parts) == 1)
    if "items" in schema:
        item = _compile(version, schema["items"])
        tests.append(lambda value: not isinstance(value, list) or all(map(item, value)))
    if schema.keys() & {"properties", "required", "additionalProperties"}:
        tests.append(_object_test(version, schema))
    return tests[0] if len(tests) == 1 else (lambda value: all(test(value) for test in tests))


def _reference(version: str, name: str) -> Accepts:
    # looked up when it is used: some definitions contain themselves
    return lambda value: _accepts_definition(version, name)(value)


def _type_test(names: str | list[str]) -> Accepts:
    names = [names] if isinstance(names, str) else names
    flat: list[type] = []
    for name in names:
        types = _TYPES[name]
        flat += types if isinstance(types, tuple) else (types,)
    wanted, truth = tuple(flat), "boolean" in names
    return lambda value: isinstance(value, wanted) and (truth or not isinstance(value, bool))


def _object_test(version: str, schema: dict[str, Any]) -> Accepts:
    properties = {name: _compile(version, part) for name, part in schema.get("properties", {}).items()}
    required = schema.get("required", ())
    more = schema.get("additionalProperties", True)
    others: Accepts = _compile(version, more) if isinstance(more, dict) else (lambda value: bool(more))

    def test(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        if any(name not in value for name in required):
            return False
        return all(properties.get(name, others)(part) for name, part in value.items())

    return test
