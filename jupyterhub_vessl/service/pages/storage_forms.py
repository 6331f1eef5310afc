"""The forms of *Storage*: what stands in them, and reading them as requests to the storage registry.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...model.catalog_storage import Access
from ...model.errors import BadInput
from ...model.money import divide_half_even
from ...model.units import GIB, parse_size_bytes
from ...model.volumes import VolumeKind
from ...model.wire_volumes import VolumeChange, VolumeChoices, VolumeDetail, VolumeRequest
from .forms import read_form
from .words import Amount, amount

NEW_FIELDS = ("name", "title", "cluster", "size", "mount_path", "claim", "teams", "payer")
CHANGE_FIELDS = ("title", "size", "mount_path", "teams", "payer")
TEAM = "team-"
"""Before a team's name: the field that says what the team may do."""

ACCESS = ((Access.READ_WRITE.value, "read and write"), (Access.READ_ONLY.value, "read only"), ("", "nothing"))
ACCESS_WORDS = dict(ACCESS)


@dataclass(frozen=True)
class TeamField:
    """A team in a form; ``fixed`` says what it may do where the person cannot change that, else empty."""

    name: str
    title: str
    fixed: str = ""


def team_fields(offered: Mapping[str, str], volume: VolumeDetail | None = None) -> tuple[TeamField, ...]:
    """The teams of a form: those that use the volume, then the others that the person may give it to."""
    known = volume.teams if volume else {}
    titles = volume.team_titles if volume else {}
    return tuple(
        TeamField(
            name,
            offered.get(name) or titles.get(name) or name,
            "" if name in offered else ACCESS_WORDS[known[name].value],
        )
        for name in dict.fromkeys([*known, *offered])
    )


def new_values(choices: VolumeChoices, kind: VolumeKind) -> dict[str, str]:
    """What stands in the form at first: a person's only team may read and write."""
    values = dict.fromkeys(NEW_FIELDS, "")
    if kind is VolumeKind.CLUSTER and choices.clusters:
        values["cluster"] = choices.clusters[0].name
    only = len(choices.teams) == 1
    return values | {f"{TEAM}{team}": Access.READ_WRITE.value if only else "" for team in choices.teams}


def change_values(volume: VolumeDetail, offered: Iterable[str]) -> dict[str, str]:
    """What stands in the form of a volume at first."""
    values = {"title": volume.title, "size": "", "mount_path": volume.mount_path, "teams": ""}
    values["payer"] = volume.paying_team
    return values | {f"{TEAM}{team}": volume.teams[team].value if team in volume.teams else "" for team in offered}


def read_teams(
    values: Mapping[str, str], offered: Iterable[str], known: Mapping[str, Access] | None = None
) -> dict[str, str]:
    """What each team may do, the one that pays first; teams that are not ``offered`` stay as they are ``known``.

    Raises `BadInput` at ``teams`` or ``payer``.
    """
    known, offered = known or {}, tuple(offered)
    teams = {
        name: values.get(f"{TEAM}{name}", "") if name in offered else known[name].value
        for name in dict.fromkeys([*known, *offered])
    }
    if any(access not in ACCESS_WORDS for access in teams.values()):
        raise BadInput("A team may read and write, read only, or nothing.", field="teams")
    teams = {name: access for name, access in teams.items() if access}
    payer = values.get("payer", "")
    if not payer or not teams:
        return teams
    if payer != paying_team({payer: teams.get(payer, "")} | teams) or payer not in teams:
        raise BadInput("The team that pays must be one that may read and write.", field="payer")
    return {payer: teams[payer]} | teams


def paying_team(teams: Mapping[str, str]) -> str:
    """The team that is billed: the first that may write, else the first."""
    writing = [name for name, access in teams.items() if access == Access.READ_WRITE.value]
    return next(iter([*writing, *teams]), "")


def read_request(values: Mapping[str, str], choices: VolumeChoices, kind: VolumeKind) -> VolumeRequest:
    """The form of a new volume, checked; raises `BadInput` with one sentence about one field."""
    if not values["name"].strip():
        raise BadInput("Write a name of lower-case letters, digits and hyphens, such as datasets.", field="name")
    check_size(values["size"])
    body: dict[str, object] = {name: values[name].strip() for name in ("name", "title", "size", "mount_path")}
    if kind is VolumeKind.CLUSTER:
        for name in ("cluster", "claim"):
            body[name] = values[name].strip() or None
    teams = read_teams(values, choices.teams)
    return read_form(VolumeRequest, {"organization": choices.organization, "kind": kind.value, "teams": teams} | body)


def read_change(values: Mapping[str, str], volume: VolumeDetail, offered: Iterable[str]) -> VolumeChange:
    """What a form changes about a volume, which may be nothing; raises `BadInput`."""
    body: dict[str, object] = {}
    if "edit" in volume.actions:
        typed = {name: values[name].strip() for name in ("title", "mount_path")}
        if not typed["mount_path"]:
            raise BadInput("Write where workspaces find it, such as /data.", field="mount_path")
        body |= {name: text for name, text in typed.items() if text != getattr(volume, name)}
    if "grow" in volume.actions and values["size"].strip():
        body["size"] = values["size"].strip()
    if "teams" in volume.actions:
        teams = read_teams(values, offered, volume.teams)
        same = teams == {name: access.value for name, access in volume.teams.items()}
        if not same or paying_team(teams) != volume.paying_team:
            body["teams"] = teams
    return read_form(VolumeChange, body)


def check_size(typed: str) -> int:
    """A size that was typed, in bytes; raises `BadInput` for what is none."""
    try:
        return parse_size_bytes(typed.strip())
    except ValueError as error:
        words = str(error)
        raise BadInput(f"{words[:1].upper()}{words[1:]}.", field="size") from None


def price_of(typed: str, choices: VolumeChoices, kind: VolumeKind) -> Amount | None:
    """What a size that was typed costs per month; None while it is no size."""
    try:
        size_bytes = check_size(typed)
    except BadInput:
        return None
    return amount(divide_half_even(price_per_gib(choices, kind) * size_bytes, GIB), choices.currency)


def price_per_gib(choices: VolumeChoices, kind: VolumeKind) -> int:
    """Micro-credits per GiB and month."""
    cluster = kind is VolumeKind.CLUSTER
    return choices.cluster_month_micros_per_gib if cluster else choices.object_month_micros_per_gib
