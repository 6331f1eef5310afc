"""Requests and limits of containers, and sizes, as a real API server checks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import names, quantities
from .problems import Json, Problem

STANDARD = {"cpu", "memory", "ephemeral-storage"}


def is_extended(resource: str) -> bool:
    """Whether a resource belongs to a device plugin, like ``nvidia.com/gpu``."""
    prefix, slash, _ = resource.partition("/")
    return bool(slash) and not prefix.endswith("kubernetes.io") and not resource.startswith("requests.")


def container_resources(field: str, resources: Json) -> Iterator[Problem]:
    """Everything wrong with the resources of one container; quantities are known to parse."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for part, amounts in (("limits", limits), ("requests", requests)):
        for resource, value in amounts.items():
            yield from _amount(f"{field}.{part}", resource, value)
    for resource, value in requests.items():
        if resource in limits:
            wanted, limit = quantities.parse(value), quantities.parse(limits[resource])
            # hugepages cannot be overcommitted either
            if (is_extended(resource) or resource.startswith("hugepages-")) and wanted != limit:
                words = f"must be equal to {resource} limit of {limits[resource]}"
                yield Problem(f"{field}.requests", "Invalid value", words, str(value))
            elif wanted > limit:
                words = f"must be less than or equal to {resource} limit of {limits[resource]}"
                yield Problem(f"{field}.requests", "Invalid value", words, str(value))
        elif is_extended(resource):
            yield Problem(f"{field}.limits", "Required value", "Limit must be set for non overcommitable resources")
    for index, claim in enumerate(resources.get("claims") or []):
        yield Problem(f"{field}.claims[{index}]", "Not found", value=claim)


def _amount(field: str, resource: str, value: Any) -> Iterator[Problem]:
    inner = f"{field}[{resource}]"
    if resource not in STANDARD and not resource.startswith("hugepages-"):
        yield from names.qualified_name(inner, resource)
        if "/" not in resource:
            yield Problem(inner, "Invalid value", "must be a standard resource type or fully qualified", resource)
            yield Problem(inner, "Invalid value", "must be a standard resource for containers", resource)
    amount = quantities.parse(value)
    if amount < 0:
        yield Problem(inner, "Invalid value", "must be greater than or equal to 0", str(value))
    elif is_extended(resource) and amount.denominator != 1:
        yield Problem(inner, "Invalid value", "must be an integer", str(value))


def size_limit(field: str, value: Any) -> Iterator[Problem]:
    """The size of an emptyDir."""
    if value is not None and quantities.parse(value) < 0:
        yield Problem(field, "Forbidden", "SizeLimit field must be a valid resource quantity")


def quantities_in(thing: Json) -> Iterator[Any]:
    """Every amount in an object, to be decoded before anything else is looked at."""
    spec = thing.get("spec") or {}
    found: list[Any] = [spec.get("resources"), {"c": spec.get("capacity")}, {"h": spec.get("hard")}]
    for part in ("containers", "initContainers", "ephemeralContainers"):
        found += [container.get("resources") for container in spec.get(part) or []]
    found += [{"o": spec.get("overhead")}, {"e": _empty_dirs(spec)}]
    for resources in found:
        for amounts in (resources or {}).values():
            if isinstance(amounts, dict):
                yield from amounts.values()


def _empty_dirs(spec: Json) -> Json:
    sources = ((volume.get("emptyDir") or {}) for volume in spec.get("volumes") or [])
    return {
        str(index): source["sizeLimit"] for index, source in enumerate(sources) if source.get("sizeLimit") is not None
    }
