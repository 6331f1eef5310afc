"""The pages' paths, and what their handlers share."""

from __future__ import annotations

from typing import Any

from ..parts import Parts


def page_patterns(prefix: str) -> list[tuple[Any, ...]]:
    """(pattern, handler) rows for tornado."""
    return []


def page_settings(parts: Parts) -> dict[str, Any]:
    """Settings for the tornado application."""
    return {}
