"""The three kinds of patch that the server takes: JSON merge, strategic merge and JSON patch."""

from __future__ import annotations

import copy
from typing import Any

from .problems import Json, Refused, bad_request
from .schemas import definitions, schema_of, versions

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


def apply_patch(thing: Json, patch: Any, content_type: str) -> Json:
    """The object after a patch; the argument is not changed.  Raises `Refused` (400, 415, 422)."""
    if content_type == JSON_PATCH:
        if not isinstance(patch, list) or not all(isinstance(step, dict) for step in patch):
            raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
        return _json_patch(thing, patch)
    if content_type not in (MERGE, STRATEGIC):
        accepted = ", ".join([JSON_PATCH, MERGE, STRATEGIC])
        message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise Refused(415, message)
    if not isinstance(patch, dict):
        raise bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
    if content_type == MERGE:
        return merge(thing, patch)
    return _strategic(thing, patch, schema_of(versions()[-1], thing["kind"]))


def merge(thing: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(thing) if isinstance(thing, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _resolve(schema: Json) -> Json:
    if "$ref" not in schema:
        return schema
    return {**definitions(versions()[-1])[schema["$ref"].rpartition("/")[2]], **schema}


def _strategic(thing: Any, patch: Json, schema: Json) -> Json:
    """A merge that knows from the schema which lists are merged, and by which key."""
    if patch.get("$patch") == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    merged, schema = (dict(thing) if isinstance(thing, dict) else {}), _resolve(schema)
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        part = schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
        part = part if isinstance(part, dict) else {}
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _strategic(merged.get(name), value, part)
        elif isinstance(value, list) and "merge" in part.get("x-kubernetes-patch-strategy", ""):
            merged[name] = _merge_lists(merged.get(name) or [], value, part)
        else:
            merged[name] = copy.deepcopy(value)
    return merged


def _merge_lists(old: list[Any], patch: list[Any], schema: Json) -> list[Any]:
    key = schema.get("x-kubernetes-patch-merge-key")
    if key is None:
        return [*old, *(value for value in patch if value not in old)]
    merged = list(old)
    for value in patch:
        if not isinstance(value, dict) or key not in value:
            raise bad_request(f"map: {value} does not contain declared merge key: {key}")
        index = next((i for i, one in enumerate(merged) if one.get(key) == value[key]), None)
        if value.get("$patch") == "delete":
            if index is not None:
                del merged[index]
        elif index is None:
            merged.append(copy.deepcopy(value))
        else:
            merged[index] = _strategic(merged[index], value, schema.get("items", {}))
    return merged


def _json_patch(thing: Json, steps: list[Json]) -> Json:
    result: Any = copy.deepcopy(thing)
    for step in steps:
        operation, path = step.get("op"), step.get("path")
        if not isinstance(path, str) or (path and not path.startswith("/")):
            raise bad_request(f"invalid JSON patch path {path!r}")
        try:
            result = _one_step(result, step, str(operation), _pointer(path))
        except (KeyError, IndexError, TypeError, ValueError):
            message = f'{operation} operation does not apply: doc is missing path: "{path}"'
            message = f"the server rejected our request due to an error in our request: {message}"
            raise Refused(422, message) from None
    return result


def _pointer(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _one_step(document: Any, step: Json, operation: str, path: list[str]) -> Any:
    if operation in ("move", "copy"):
        source = _pointer(step["from"])
        value = copy.deepcopy(_find(document, source))
        if operation == "move":
            document = _one_step(document, {}, "remove", source)
        return _one_step(document, {"value": value}, "add", path)
    if operation == "test":
        if _find(document, path) != step.get("value"):
            raise Refused(422, f"the server rejected our request: testing value {'/'.join(path)} failed")
        return document
    if operation not in ("add", "remove", "replace"):
        raise bad_request(f"Unexpected kind: {operation}")
    if not path:
        return copy.deepcopy(step["value"])
    parent, last = _find(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        index = len(parent) if last == "-" and operation == "add" else int(last)
        if operation == "add":
            if not 0 <= index <= len(parent):
                raise IndexError(last)
            parent.insert(index, step["value"])
        elif operation == "remove":
            del parent[index]
        else:
            parent[index] = step["value"]
    elif operation == "remove":
        del parent[last]
    elif operation == "replace" and last not in parent:
        raise KeyError(last)
    else:
        parent[last] = step["value"]
    return document


def _find(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document
