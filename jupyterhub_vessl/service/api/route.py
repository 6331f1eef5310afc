"""What a row of the route table says."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from .base import ApiHandler

PERSON, SPAWNER, ANYBODY = "person", "spawner", "anybody"
WORKSPACE = "workspace"
"""A person, or the workspace itself with the token of its own server."""


@dataclass(frozen=True)
class Route:
    """One verb of one path.  ``path`` has ``{name}`` for what varies; ``caller`` is who may come at all."""

    verb: str
    path: str
    handler: type[ApiHandler]
    caller: str
    summary: str
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    status: int = 200
    query: tuple[str, ...] = ()
