"""What all models of the REST API have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

NAME_CHARACTERS_MAX = 255


class Inbound(BaseModel):
    """Base of what is sent to the service."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Outbound(BaseModel):
    """Base of what the service answers."""

    model_config = ConfigDict(frozen=True, extra="ignore")
