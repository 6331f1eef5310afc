"""What every choice from the offer has in common: a name that must be there, and teams that it is open to.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from .errors import BadInput

T = TypeVar("T")


def choose(kind: str, field: str, name: str, offered: Mapping[str, T]) -> T:
    """What is offered under a name, or `BadInput` that lists the names."""
    if name not in offered:
        raise BadInput(
            f"There is no {kind} {name!r}.",
            hint=f"Choose one of: {', '.join(offered) or 'none'}.",
            field=field,
        )
    return offered[name]


def open_to(teams: tuple[str, ...] | None, team: str) -> bool:
    """Whether something in the offer is open to a team; no list means to all."""
    return teams is None or team in teams
