"""The pages' paths, and what their handlers share."""

from __future__ import annotations

from typing import Any

from ...model.text import NAME_PATTERN
from ..parts import Parts
from . import credits_handlers, handlers, storage_handlers
from .base import STATIC, UnknownPageHandler

_WORKSPACE = "workspaces/([0-9a-f]{32})"
_GRANT = "grants/([0-9a-f]{32})"
_VOLUME = f"storage/({NAME_PATTERN})/({NAME_PATTERN})"


def page_patterns(prefix: str) -> list[tuple[Any, ...]]:
    """(pattern, handler) rows for tornado; the last one takes everything else under the service's path."""
    return [
        (prefix, handlers.WorkspacesHandler),
        (f"{prefix}new", handlers.NewHandler),
        (f"{prefix}{_WORKSPACE}/(start|pause|cancel)", handlers.WorkspaceActionHandler),
        (f"{prefix}{_WORKSPACE}/terminate", handlers.TerminateHandler),
        (f"{prefix}credits", credits_handlers.CreditsHandler),
        (f"{prefix}credits/grants", credits_handlers.GrantHandler),
        (f"{prefix}credits/{_GRANT}/void", credits_handlers.VoidHandler),
        (f"{prefix}credits/refund", credits_handlers.RefundHandler),
        (f"{prefix}credits/budget", credits_handlers.BudgetHandler),
        (f"{prefix}storage", storage_handlers.StorageHandler),
        (f"{prefix}storage/new", storage_handlers.NewVolumeHandler),
        (f"{prefix}{_VOLUME}", storage_handlers.VolumeHandler),
        (f"{prefix}{_VOLUME}/delete", storage_handlers.DeleteVolumeHandler),
        (f"{prefix}.*", UnknownPageHandler),
    ]


def page_settings(parts: Parts) -> dict[str, Any]:
    """Settings for the tornado application: where the pages' own style and script are."""
    return {"static_path": str(STATIC), "static_url_prefix": f"{parts.prefix}static/"}
