"""What the address of *Credits* says: which organization, which range of the charts, which part of the ledger.

Every link of the page is made from it, so that choosing one thing leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from urllib.parse import urlencode

from ...model.errors import BadInput
from ...model.money import DAY_MS
from ...model.wire_credits import parse_instant
from ..movements import Wanted
from ..series import DAYS, DIVISIONS

TRAIL_PAGES = 8
"""How many pages back the "Newer" link remembers."""

SHOWS = ("days", "totals")


@dataclass(frozen=True)
class CreditsQuery:
    """One address.

    Attributes
    ----------
    days, by, show
        Range of the charts, what usage is divided by, and whether it is shown by day or in total.
    kind, team, person, since, until
        Which movements the ledger lists; both days, as ``2026-11-24`` in UTC, belong to it.
    cursor, trail
        Where this page of the ledger begins (empty for the newest), and where those before it began.
    """

    organization: str = ""
    days: str = "30"
    by: str = "team"
    show: str = "days"
    kind: str = ""
    team: str = ""
    person: str = ""
    since: str = ""
    until: str = ""
    cursor: str = ""
    trail: str = ""

    @classmethod
    def read(cls, argument: Callable[[str], str]) -> CreditsQuery:
        """From the arguments of a request; raises `BadInput` for what is not one of ours."""
        values = {name: argument(name).strip() for name in cls.__dataclass_fields__}
        found = cls(**{name: value for name, value in values.items() if value})
        if found.days not in map(str, DAYS) or found.by not in DIVISIONS or found.show not in SHOWS:
            raise BadInput("There is no such chart.", hint="Open Credits again.")
        found.wanted()
        return found

    def wanted(self) -> Wanted:
        """The movements to list; raises `BadInput`."""
        since_ms, until_ms = parse_instant(self.since, "since"), parse_instant(self.until, "until")
        wanted = Wanted(
            kind=self.kind,
            team=self.team,
            user=self.person,
            from_ms=since_ms,
            to_ms=None if until_ms is None else until_ms + DAY_MS,
        )
        wanted.check()
        return wanted

    @property
    def filtered(self) -> bool:
        """Whether the ledger lists less than everything."""
        return any((self.kind, self.team, self.person, self.since, self.until))

    def link(self, **changes: str) -> str:
        """The part of the address after the service's path, with some things changed."""
        return f"credits?{self.arguments(**changes)}"

    def arguments(self, **changes: str) -> str:
        """As `link`, only what follows the question mark; what is as usual is left out."""
        other = replace(self, **changes)
        usual = CreditsQuery()
        return urlencode(
            {name: value for name, value in vars(other).items() if value and value != getattr(usual, name)}
        )

    def everything(self) -> str:
        """The address of the whole ledger."""
        return self.link(kind="", team="", person="", since="", until="", cursor="", trail="")

    def older(self, following: str) -> str:
        """The address of the page of the ledger after this one."""
        trail = ".".join([*self._before(), self.cursor][-TRAIL_PAGES:]) if self.cursor else ""
        return self.link(cursor=following, trail=trail)

    def newer(self) -> str | None:
        """The address of the page before, None on the newest."""
        if not self.cursor:
            return None
        before = self._before()
        return self.link(cursor=before[-1] if before else "", trail=".".join(before[:-1]))

    def _before(self) -> list[str]:
        parts = [part for part in self.trail.split(".") if part.isascii() and part.isdigit()]
        return parts[-TRAIL_PAGES:]

    def export(self, file_format: str, user: str) -> str:
        """The address of a file with the movements of these days, of a team, and of ``user`` (empty for all)."""
        to_ms = self.wanted().to_ms
        arguments = {
            "format": file_format,
            "from": self.since,
            "to": "" if to_ms is None else f"{datetime.fromtimestamp(to_ms // 1000, timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
            "team": self.team,
            "user": user,
        }
        query = urlencode({name: value for name, value in arguments.items() if value})
        return f"api/v1/organizations/{self.organization}/export?{query}"
