"""What every part of the service shares: the offer, the database, the clock, the hub, the clusters, and a bell."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import sqlalchemy as sa

from ..ledger.database import Database
from ..ledger.events import Event, record_event
from ..ledger.postings import CREDITS, OPENING, Transaction, post, remember, remembered
from ..model.catalog import Offer, Organization
from ..model.errors import NotFound
from .clock import Clock
from .clusters import Clusters
from .hub_client import HubClient

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
    cluster says that they have ended.
    """

    offer: Offer
    database: Database
    hub: HubClient
    clusters: Clusters
    clock: Clock = field(default_factory=Clock)
    bell: Bell = field(default_factory=Bell)
    alive_ms: dict[str, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    hub_answers: bool = True
    next_deadline_ms: int | None = None

    def organization(self, name: str) -> Organization:
        """An organization of the offer; raises `NotFound`."""
        organization = self.offer.organizations.get(name)
        if organization is None:
            raise NotFound("There is no such organization.")
        return organization

    def contact(self, organization: str) -> str:
        """Whom to ask about an organization's credits."""
        return self.offer.organizations[organization].contact or self.offer.identity.contact or "an admin"


def record_openings(connection: sa.Connection, offer: Offer, now_ms: int) -> None:
    """Give each organization the credits that the offer says it starts with, once for all time."""
    for name, organization in offer.organizations.items():
        key = f"opening:{name}"
        amount = organization.credits.opening_micros
        if not amount or _is_recorded(connection, key):
            continue
        transaction = Transaction(
            organization=name,
            kind="opening",
            at_ms=now_ms,
            recorded_ms=now_ms,
            actor="service",
            reason="Opening credits",
            source="offer",
        )
        post(connection, transaction, {CREDITS: amount, OPENING: -amount})
        remember(connection, key, {}, {"amount_micros": amount}, now_ms)
        event = Event(now_ms, "opening", "Opening credits were recorded.", "service", name)
        record_event(connection, event)


def _is_recorded(connection: sa.Connection, key: str) -> bool:
    return remembered(connection, key, {}) is not None
