"""``volume create``, ``grow``, ``share``, ``edit`` and ``delete``.

The same command again changes nothing and prints the same, so that a script may be run again.
"""

from __future__ import annotations

from collections.abc import Callable

import click

from ..client_volumes import VolumesClient
from ..model.money import format_credits
from ..model.units import format_bytes
from ..model.volumes import VolumeKind, VolumeState
from ..model.wire_volumes import VolumeDetail
from .credits_shared import Link, prints, reaches_service, refuse
from .volume_read import ask, print_volume, team_words
from .volume_wait import wait_until_bound, wait_until_gone, waits

NOTHING = "none"
ACCESS = ("rw", "ro", NOTHING)


def _teams(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """``vision=rw`` as often as it is given, the last word on a team counting."""
    found: dict[str, str] = {}
    for text in given:
        name, _, access = text.partition("=")
        if not name or access not in ACCESS:
            raise click.BadParameter(f"write a team and what it may do, such as vision=rw or speech=ro, not {text!r}.")
        found[name] = access
    return found


def team_option(text: str, *, required: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option ``--team``, which may be given more than once."""
    return click.option(
        "--team", "teams", metavar="TEAM=ACCESS", multiple=True, callback=_teams, required=required, help=text
    )


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--kind", type=click.Choice([kind.value for kind in VolumeKind]), required=True, help="Of storage.")
@click.option("--size", metavar="SIZE", required=True, help="Such as 100Gi. It can grow later, never shrink.")
@team_option("Such as vision=rw or speech=ro; give it for each team. The first with rw pays.")
@click.option("--cluster", metavar="NAME", default="", help="Where cluster storage is to be.")
@click.option("--title", metavar="TEXT", default="", help="What people read. Default: the name.")
@click.option("--mount-path", metavar="PATH", default="", help="Where workspaces find it. Default: by its name.")
@click.option("--claim", metavar="NAME", default="", help="An existing claim on Kubernetes to take over.")
@waits
@prints
@reaches_service
def create(link: Link, name: str, teams: dict[str, str], wait: bool, timeout_seconds: int, **body: str) -> None:
    """Make cluster storage (admins) or object storage (members, for their own teams)."""
    given = {team: access for team, access in teams.items() if access != NOTHING}

    async def work(client: VolumesClient, organization: str) -> VolumeDetail:
        made = await client.create_volume(organization, name, teams=given, **body)
        return await wait_until_bound(client, made, timeout_seconds) if wait else made

    made = ask(link, work)
    print_volume(link, made, f"Made {name} with {_size_and_price(made)}.")


@click.command()
@click.argument("name", metavar="NAME")
@click.argument("size", metavar="SIZE")
@prints
@reaches_service
def grow(link: Link, name: str, size: str) -> None:
    """Let a volume grow to a size, such as 200Gi. Only growth that its cluster refuses can be taken back."""
    grown = ask(link, lambda client, organization: client.change_volume(organization, name, size=size))
    print_volume(link, grown, f"{name} has {_size_and_price(grown)}.")


@click.command()
@click.argument("name", metavar="NAME")
@team_option("Such as vision=rw, speech=ro or audio=none; give it for each team.", required=True)
@prints
@reaches_service
def share(link: Link, name: str, teams: dict[str, str]) -> None:
    """Set what teams may do with a volume; teams that are not named keep what they have."""

    async def work(client: VolumesClient, organization: str) -> VolumeDetail:
        known = await client.volume(organization, name)
        wanted = {team: access.value for team, access in known.teams.items()} | teams
        kept = {team: access for team, access in wanted.items() if access != NOTHING}
        return await client.change_volume(organization, name, teams=kept)

    shared = ask(link, work)
    print_volume(link, shared, f"{name} belongs to {team_words(shared) or 'no team'}.")


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--title", metavar="TEXT", help="What people read.")
@click.option("--mount-path", metavar="PATH", help="Where workspaces find it that start from now on.")
@prints
@reaches_service
def edit(link: Link, name: str, title: str | None, mount_path: str | None) -> None:
    """Give a volume another title or mount path."""
    if title is None and mount_path is None:
        raise click.UsageError("Say what is to be another: --title or --mount-path.")
    if "" in (title, mount_path):
        raise click.UsageError("A title or mount path is not empty.")
    changed = ask(
        link,
        lambda client, organization: client.change_volume(organization, name, title=title, mount_path=mount_path),
    )
    print_volume(link, changed, f"{name} is changed.")


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@waits
@prints
@reaches_service
def delete(link: Link, name: str, yes: bool, wait: bool, timeout_seconds: int) -> None:
    """Delete a volume and every file in it; one that was taken over keeps its files."""
    if not yes:
        _confirm(ask(link, lambda client, organization: client.volume(organization, name)))

    async def work(client: VolumesClient, organization: str) -> VolumeDetail:
        deleted = await client.delete_volume(organization, name)
        if wait:
            await wait_until_gone(client, deleted, timeout_seconds)
        return deleted

    deleted = ask(link, work)
    print_volume(link, deleted, f"{name} is gone." if wait else f"{name} is being deleted and costs nothing any more.")


def _confirm(volume: VolumeDetail) -> None:
    """Say what is lost and ask; exits 1 when the answer is no, or when it cannot be deleted anyway."""
    if volume.delete_obstacle:
        refuse(volume.delete_obstacle)
    if volume.state is VolumeState.DELETING:
        return
    whose = f" of {team_words(volume)}" if volume.teams else ""
    if volume.adopted:
        lost = f"{volume.name} was there before: its files are kept, and no workspace can mount it any more."
    else:
        lost = f"Every file in {volume.name} ({format_bytes(volume.size_bytes)}{whose}) is lost for ever."
    click.echo(lost, err=True)
    click.confirm("Delete it?", abort=True, err=True)


def _size_and_price(volume: VolumeDetail) -> str:
    price = format_credits(volume.month_micros, volume.currency)
    return f"{format_bytes(volume.size_bytes)}, for {price} a month"
