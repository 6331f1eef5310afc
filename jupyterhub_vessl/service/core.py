"""What every part of the service shares: the offer, the database, the clock, the hub, the clusters, and a bell."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from ..ledger.database import Database
from ..model.catalog import Offer, Organization
from ..model.errors import NotFound
from ..model.identity import Principal
from .clock import Clock
from .clusters import Clusters
from .hub_client import HubClient
from .sightings import Sightings

log = logging.getLogger("jupyterhub_vessl")


class Bell:
    """Wakes every loop that waits for a change.  Ringing twice before somebody looks wakes once."""

    def __init__(self) -> None:
        self._listeners: list[asyncio.Event] = []

    def listen(self) -> asyncio.Event:
        """A new listener; it starts rung, so that a loop looks once at its start."""
        listener = asyncio.Event()
        listener.set()
        self._listeners.append(listener)
        return listener

    def ring(self) -> None:
        """Something changed."""
        for listener in self._listeners:
            listener.set()


async def wait_for_bell(listener: asyncio.Event, timeout_seconds: float) -> None:
    """Sleep until the bell rings or the time is over."""
    try:
        await asyncio.wait_for(listener.wait(), timeout_seconds)
    except asyncio.TimeoutError:
        return
    listener.clear()


@dataclass
class Core:
    """The shared parts.

    ``alive_ms`` remembers when each workspace with an open admission was last seen alive; ``gone`` those whose
    cluster says that they have ended; ``touched`` the (organization, team, person) whose money changed since
    the enforcer last looked.  ``storage_bell`` wakes who brings clusters in line with the storage registry.
    """

    offer: Offer
    database: Database
    hub: HubClient
    clusters: Clusters
    sightings: Sightings
    clock: Clock = field(default_factory=Clock)
    bell: Bell = field(default_factory=Bell)
    storage_bell: Bell = field(default_factory=Bell)
    alive_ms: dict[str, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    hub_answers: bool = True
    next_deadline_ms: int | None = None
    touched: set[tuple[str, str, str]] = field(default_factory=set)

    def changed(self, organization: str, team: str = "", person: str = "") -> None:
        """Something about an organization's money changed, in a team, by a person: wake everybody who looks."""
        self.touched.add((organization, team, person))
        self.bell.ring()

    def check_member(self, principal: Principal, organization: str) -> None:
        """Raises `NotFound` for everybody who does not belong to an organization."""
        known = organization in self.offer.organizations
        if not known or organization not in principal.organizations():
            raise NotFound("There is no such organization.")

    def organization(self, name: str) -> Organization:
        """An organization of the offer; raises `NotFound`."""
        organization = self.offer.organizations.get(name)
        if organization is None:
            raise NotFound("There is no such organization.")
        return organization

    def contact(self, organization: str) -> str:
        """Whom to ask about an organization's credits."""
        return self.offer.organizations[organization].contact or self.offer.identity.contact or "an admin"
