"""Label and field selectors: from the query's text to a function that says whether an object matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .kinds import Kind
from .problems import bad_request

Match = Callable[[Mapping[str, Any]], bool]

_REQUIREMENT = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<key1>[^\s!=,()]+)"
    r"|(?P<key2>[^\s!=,()]+)\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\)"
    r"|(?P<key3>[^\s!=,()]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s!=,()]*)"
    r"|(?P<key4>[^\s!=,()]+))\s*(?:,|$)"
)
_KEY = re.compile(r"(?:[a-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_FIELDS = {
    "pods": {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase"}
    | {"status.podIP", "status.nominatedNodeName", "spec.hostNetwork"},
    "events": {f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")}
    | {"involvedObject.resourceVersion", "reason", "reportingComponent", "source", "type"},
    "secrets": {"type"},
    "namespaces": {"status.phase"},
    "nodes": {"spec.unschedulable"},
    "services": {"spec.clusterIP", "spec.type"},
}


def matcher(kind: Kind, labels: str, fields: str) -> Match | None:
    """One function for both selectors; None when everything matches.  Raises `Refused` (400) for junk."""
    tests = [*_label_tests(labels), *_field_tests(kind, fields)]
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda thing: all(test(thing) for test in tests)


def labels_match(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether plain equality requirements, as in a Service, all hold."""
    return all(labels.get(key) == value for key, value in selector.items())


def _label_tests(text: str) -> list[Match]:
    tests, position = [], 0
    while position < len(text):
        match = _REQUIREMENT.match(text, position)
        if match is None:
            raise bad_request(f"unable to parse requirement: found '{text[position:]}', expected: identifier")
        key = next(match[name] for name in ("key1", "key2", "key3", "key4") if match[name])
        if not _KEY.fullmatch(key):
            raise bad_request(f'unable to parse requirement: <nil>: Invalid value: "{key}": name part must consist of'
                              " alphanumeric characters, '-', '_' or '.'")  # fmt: skip
        values = (
            [part.strip() for part in (match["values"] or "").split(",")] if match["set"] else [match["value"] or ""]
        )
        for value in values:
            if not _VALUE.fullmatch(value):
                raise bad_request(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": a valid'
                                  " label must be an empty string or consist of alphanumeric characters")  # fmt: skip
        tests.append(_label_test(key, match["absent"] or match["set"] or match["op"] or "exists", frozenset(values)))
        position = match.end()
    return tests


def _label_test(key: str, how: str, values: frozenset[str]) -> Match:
    def found(thing: Mapping[str, Any]) -> str | None:
        labels = thing["metadata"].get("labels")
        return labels.get(key) if labels else None

    if how == "exists":
        return lambda thing: found(thing) is not None
    if how == "!":
        return lambda thing: found(thing) is None
    if how in ("notin", "!="):  # an object without the label matches
        return lambda thing: found(thing) not in values
    return lambda thing: found(thing) in values


def _field_tests(kind: Kind, text: str) -> list[Match]:
    tests = []
    known = _FIELDS.get(kind.plural, set()) | {"metadata.name"} | ({"metadata.namespace"} if kind.namespaced else set())
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([\w.]+)(==|=|!=)(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        path, how, value = match.groups()
        if path not in known:
            raise bad_request(f"field label not supported: {path}")
        tests.append(_field_test(tuple(path.split(".")), how == "!=", value))
    return tests


def _field_test(path: tuple[str, ...], unequal: bool, value: str) -> Match:
    def test(thing: Any) -> bool:
        for part in path:
            thing = thing.get(part) if isinstance(thing, Mapping) else None
        text = "" if thing is None else str(thing)
        return (text != value) if unequal else (text == value)

    return test
