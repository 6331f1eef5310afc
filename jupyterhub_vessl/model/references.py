"""Names that a vessl.yaml uses must be defined in it.  Pure; works on the raw document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .identity import Role


def references(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names that the document uses but does not define: (path, what is wrong and what is right).

    Works on the raw document, so that a wrong reference is reported together with every other mistake.
    """
    found: list[tuple[str, str]] = []

    def section(*keys: str) -> dict[str, Any]:
        value: Any = data
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return {str(k): v for k, v in value.items() if isinstance(v, Mapping)} if isinstance(value, Mapping) else {}

    teams = {str(t) for org in section("organizations").values() for t in _mapping(org.get("teams"))}
    known = {
        "cluster": section("clusters"),
        "resource spec": section("resource_specs"),
        "image": section("images"),
    }
    volumes = {**section("storage", "cluster", "volumes"), **section("storage", "object", "volumes")}

    def check(path: str, what: str, names: object, defined: Any) -> None:
        wanted = names if isinstance(names, (list, tuple)) else _mapping(names) or [names]
        for name in wanted:
            if isinstance(name, str) and name not in defined:
                have = ", ".join(sorted(defined)) or "none"
                found.append((path, f"there is no {what} {name!r}; defined here: {have}"))

    for kind in ("clusters", "resource_specs", "images", "presets"):
        for name, part in section(kind).items():
            check(f"{kind}.{name}.teams", "team", part.get("teams"), teams)
            if kind == "resource_specs":
                check(f"{kind}.{name}.clusters", "cluster", part.get("clusters"), known["cluster"])
    for name, preset in section("presets").items():
        check(f"presets.{name}.spec", "resource spec", preset.get("spec"), known["resource spec"])
        check(f"presets.{name}.image", "image", preset.get("image"), known["image"])
        for volume in _mapping(preset.get("storage")):
            check(f"presets.{name}.storage.{volume}", "volume", volume, volumes)
    for name, volume in section("storage", "cluster", "volumes").items():
        check(f"storage.cluster.volumes.{name}.cluster", "cluster", volume.get("cluster"), known["cluster"])
    for kind in ("cluster", "object"):
        for name, volume in section("storage", kind, "volumes").items():
            check(f"storage.{kind}.volumes.{name}.teams", "team", volume.get("teams"), teams)
    for name, volume in section("storage", "cluster", "volumes").items():
        owners = [org for org, body in section("organizations").items() if _shares(body, volume)]
        if volume.get("claim") and len(owners) > 1:
            what = f"teams of {' and '.join(owners)} are called alike, and a claim belongs to one organization"
            found.append((f"storage.cluster.volumes.{name}.claim", f"{what}; give their teams other names"))
    both = set(section("storage", "cluster", "volumes")) & set(section("storage", "object", "volumes"))
    for name in sorted(both):
        found.append((f"storage.object.volumes.{name}", "this name is taken by a cluster volume; choose another"))
    organizations = set(section("organizations"))
    rules = _mapping(data.get("identity")).get("rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        found += _rule_problems(f"identity.rules.{index}", _mapping(rule), organizations, teams)
    return found


def _rule_problems(
    path: str, rule: Mapping[str, Any], organizations: set[str], teams: set[str]
) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    try:
        named = set(re.compile(str(rule.get("match", ""))).groupindex)
    except re.error as error:
        return [(f"{path}.match", f"this is not a regular expression ({error})")]
    organization, team = rule.get("organization"), rule.get("team")
    if organization is None and "organization" not in named:
        found.append((path, "say which organization: give organization, or a group (?P<organization>…) in match"))
    elif isinstance(organization, str) and organization not in organizations:
        found.append((f"{path}.organization", f"there is no organization {organization!r}"))
    if rule.get("role") is None and "role" not in named:
        found.append((path, "say which role: give role, or a group (?P<role>…) in match"))
    if isinstance(team, str) and team not in teams:
        found.append((f"{path}.team", f"there is no team {team!r}"))
    role = rule.get("role")
    if role in [r.value for r in Role if r is not Role.ADMIN] and team is None and "team" not in named:
        found.append((path, f"role {role} needs a team: give team, or a group (?P<team>…) in match"))
    return found


def _shares(organization: Mapping[str, Any], volume: Mapping[str, Any]) -> bool:
    return bool({*_mapping(organization.get("teams"))} & {*_mapping(volume.get("teams"))})


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
