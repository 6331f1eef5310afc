"""The handler of credits over time."""

from __future__ import annotations

from ..series import Series
from .base import ApiHandler


class SeriesHandler(ApiHandler):
    """An organization's credits over time, for charts."""

    async def get(self, organization: str) -> None:
        """The balance of the last ``days`` and to come, and what was used ``by`` team, spec or person."""
        series = Series(self.parts.core)
        days, by = self.query_number("days", 30), self.query("by", "team") or ""
        self.answer(await series.series(self.principal, organization, days=days, by=by))
