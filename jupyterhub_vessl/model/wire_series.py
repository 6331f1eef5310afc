"""What travels over the REST API for charts: the balance over time, and what was used day by day."""

from __future__ import annotations

from .wire_base import Outbound


class BalancePoint(Outbound):
    """The balance at an instant."""

    at_ms: int
    balance_micros: int


class BurnGroup(Outbound):
    """What one team, spec or person used on each day; the days are `SeriesView.days_ms`.

    ``name`` is empty where several are put together or nobody is named; ``title`` says it in words.
    """

    name: str
    title: str
    day_micros: tuple[int, ...]
    total_micros: int


class SeriesView(Outbound):
    """Credits over time.

    Attributes
    ----------
    past
        The balance at UTC midnights, and now.
    ahead
        The balance to come at the present rate, from now on: straight between two points.  It ends where
        running workspaces are paused, and as many days from now as ``past`` goes back at the latest.
    buffer_micros
        How far below zero the balance may go before running workspaces are paused.
    days_ms
        When the UTC days of ``burn`` begin; the last is today, up to now.
    by
        What ``burn`` is divided by: team, spec or person.
    burn
        What was used, the largest first; a member's own share, a manager's teams, an admin's organization.
    """

    organization: str
    currency: str
    past: tuple[BalancePoint, ...]
    ahead: tuple[BalancePoint, ...]
    buffer_micros: int
    by: str
    days_ms: tuple[int, ...]
    burn: tuple[BurnGroup, ...]
    at_ms: int
