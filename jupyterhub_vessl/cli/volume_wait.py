"""Waiting for the clusters: progress goes to stderr, so that stdout is the answer alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import click

from ..client_volumes import VolumesClient
from ..model.errors import Conflict, NotFound, Unavailable
from ..model.text import bounded
from ..model.units import format_duration
from ..model.volumes import VolumeState
from ..model.wire_volumes import VolumeDetail

POLL_SECONDS = 1.0
DEFAULT_SECONDS = 300


def waits(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options ``--wait`` and ``--timeout``."""
    command = click.option(
        "--timeout",
        "timeout_seconds",
        metavar="SECONDS",
        type=click.IntRange(1, 86400),
        default=DEFAULT_SECONDS,
        help=f"How long to wait. Default: {DEFAULT_SECONDS}.",
    )(command)
    return click.option("--wait", is_flag=True, help="Wait until its cluster is done.")(command)


async def wait_until_bound(client: VolumesClient, volume: VolumeDetail, timeout_seconds: int) -> VolumeDetail:
    """The volume once it is bound.

    Raises `Conflict` when it is lost or deleted meanwhile, `Unavailable` when the time is over; either way it is
    in the books.
    """
    deadline = time.monotonic() + timeout_seconds
    said = None
    while volume.state is not VolumeState.BOUND:
        if volume.state is not VolumeState.PENDING:
            raise Conflict(f"{volume.name} was not made: {volume.reason or f'it is {volume.state.value} now.'}")
        said = _tell(f"{volume.name} is being made. {volume.reason}", said)
        if time.monotonic() >= deadline:
            message = f"{volume.name} is still being made after {format_duration(timeout_seconds)}. {volume.reason}"
            raise Unavailable(message.strip(), hint="It goes on; look at it with: volume show.")
        await asyncio.sleep(POLL_SECONDS)
        volume = await client.volume(volume.organization, volume.name)
    return volume


async def wait_until_gone(client: VolumesClient, volume: VolumeDetail, timeout_seconds: int) -> None:
    """Return once the clusters have removed a volume; raises `Unavailable` when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    said, deleted = None, volume.id
    while True:
        try:
            volume = await client.volume(volume.organization, volume.name)
        except NotFound:
            return
        if volume.id != deleted:  # somebody has made another of the same name
            return
        said = _tell(f"{volume.name} is being deleted. {volume.reason}", said)
        if time.monotonic() >= deadline:
            message = f"{volume.name} is still being deleted after {format_duration(timeout_seconds)}. {volume.reason}"
            raise Unavailable(message.strip(), hint="It goes on, and costs nothing any more.")
        await asyncio.sleep(POLL_SECONDS)


def _tell(text: str, said: str | None) -> str:
    """Say it on stderr unless it was said just before."""
    if text != said:
        click.echo(bounded(text.strip(), 600), err=True)
    return text
