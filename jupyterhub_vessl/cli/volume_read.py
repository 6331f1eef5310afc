"""``volume list`` and ``show``, and how the commands of the group print volumes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from ..client_volumes import VolumesClient
from ..model.catalog_storage import Access
from ..model.money import format_credits
from ..model.units import counted, format_bytes
from ..model.volumes import VolumeKind, VolumeState
from ..model.wire_volumes import VolumeDetail
from .credits_shared import Link, instant, print_json, print_pairs, print_table, prints, reaches_service

T = TypeVar("T")

STATES = {
    VolumeState.PENDING: "being made",
    VolumeState.BOUND: "ready",
    VolumeState.LOST: "lost",
    VolumeState.DELETING: "being deleted",
}


def ask(link: Link, work: Callable[[VolumesClient, str], Awaitable[T]]) -> T:
    """Run ``work(client, organization)``; a refusal is one line on stderr and exit code 1."""
    return link.ask(lambda _, organization: work(VolumesClient(link.url, link.token), organization))


@click.command("list")
@prints
@reaches_service
def list_volumes(link: Link) -> None:
    """List the volumes that you may see."""
    found = ask(link, lambda client, organization: client.volumes(organization))
    if link.as_json:
        print_json(found)
        return
    rows = [
        (
            v.name,
            v.kind.value,
            place_words(v),
            format_bytes(v.size_bytes),
            team_words(v),
            _mounts(v),
            format_credits(v.month_micros, v.currency),
            STATES[v.state],
            v.reason,
        )
        for v in found.volumes
    ]
    columns = ("volume", "kind", "cluster", "size", "teams", "mounted by", "per month", "state", "why")
    print_table(columns, rows, right=("size", "per month"))


@click.command()
@click.argument("name", metavar="NAME")
@prints
@reaches_service
def show(link: Link, name: str) -> None:
    """Show all about one volume."""
    found = ask(link, lambda client, organization: client.volume(organization, name))
    print_volume(link, found)


def print_volume(link: Link, volume: VolumeDetail, before: str = "") -> None:
    """One volume, as JSON or for people after the sentence ``before``."""
    v = volume
    if link.as_json:
        print_json(v)
        return
    if before:
        click.echo(f"{before}\n")
    mounts = [f"{m.title} ({m.user}{', read-only' if m.read_only else ''})" for m in v.mounted_by]
    if v.mounted_by_others:
        mounts.append(f"{counted(v.mounted_by_others, 'workspace')} of other people")
    print_pairs(
        v.title,
        [
            ("name", v.name),
            ("kind", v.kind.value),
            ("cluster", place_words(v)),
            ("size", _size_words(v)),
            ("teams", team_words(v) or "none; admins alone see it"),
            ("paid by", v.paying_team),
            ("mounted at", v.mount_path),
            ("mounted by", ", ".join(mounts) or "nobody now"),
            ("per month", format_credits(v.month_micros, v.currency)),
            ("state", STATES[v.state]),
            ("why", v.reason),
            ("claim", f"{v.claim} (was there before)" if v.claim and v.adopted else v.claim),
            ("made by", "vessl.yaml, and changed there" if v.declared else v.created_by),
            ("made", "" if v.declared else instant(v.created_ms or None)),
            ("you may", ", ".join(v.actions) or "look at it"),
        ],
    )


def team_words(volume: VolumeDetail) -> str:
    """The teams of a volume; what is only read is marked."""
    return ", ".join(
        f"{name} (read-only)" if access is Access.READ_ONLY else name for name, access in volume.teams.items()
    )


def _size_words(volume: VolumeDetail) -> str:
    size = format_bytes(volume.size_bytes)
    return f"{size}; it can go back to {format_bytes(volume.back_bytes)}" if volume.back_bytes else size


def place_words(volume: VolumeDetail) -> str:
    """The cluster of a volume, or that it is on every one."""
    return volume.cluster if volume.kind is VolumeKind.CLUSTER else "every cluster"


def _mounts(volume: VolumeDetail) -> str:
    count = len(volume.mounted_by) + volume.mounted_by_others
    return counted(count, "workspace") if count else ""
