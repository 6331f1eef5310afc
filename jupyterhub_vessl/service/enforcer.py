"""The enforcer: sleeps until the next deadline, then does what the policy says.

It writes nothing while nothing crosses a threshold.  A deadline is computed in closed form from sums, so a
change in one organization costs the same however many workspaces run; only that organization's deadlines are
computed anew.  What happens at a deadline is decided in `model.exhaustion` and `model.limits`; here it is
recorded, and the carrier asks the hub to do it.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable

import sqlalchemy as sa

from ..ledger.lease import LeaseHeld
from ..ledger.meters import list_meters, organizations_with_meters
from ..model.money import DAY_MS
from ..model.text import bounded
from ..model.usage import day_start_ms
from .budget_watch import BudgetWatch, Who
from .core import Core, log, wait_for_bell
from .credit_watch import CreditWatch
from .day_close import close_of_day

LOOK_AGAIN_SECONDS = 60
"""The longest sleep: a machine that was suspended is noticed within a minute.  Looking so often writes nothing."""


class Deadlines:
    """Instants at which something is to be looked at, by key; finding the earliest does not look at the others."""

    def __init__(self) -> None:
        self._instants: dict[tuple[str, ...], int] = {}
        self._heap: list[tuple[int, tuple[str, ...]]] = []

    def set(self, key: tuple[str, ...], at_ms: int | None) -> None:
        """Replace the deadline of a key; None takes it away."""
        if at_ms is None:
            self._instants.pop(key, None)
        elif self._instants.get(key) != at_ms:
            self._instants[key] = at_ms
            heapq.heappush(self._heap, (at_ms, key))

    def earliest_ms(self) -> int | None:
        """The earliest of all."""
        while self._heap and self._instants.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # replaced since
        return self._heap[0][0] if self._heap else None

    def take_due(self, now_ms: int) -> list[tuple[str, ...]]:
        """Keys whose deadline is here; each is taken away until it is set again."""
        due = []
        while (earliest := self.earliest_ms()) is not None and earliest <= now_ms:
            _, key = heapq.heappop(self._heap)
            del self._instants[key]
            due.append(key)
        return due


PEOPLE_AT_ONCE = 200
"""So many people are looked at in one transaction, as after a start of the service everybody is."""

CREDIT, BUDGET, DAY = "credit", "budget", "day"


class Enforcer:
    """Keeps organizations from spending more than they have, and teams and people from more than they may."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._credit = CreditWatch(core)
        self._budget = BudgetWatch(core)
        self.deadlines = Deadlines()
        self._begun = False

    async def run(self) -> None:
        """Look, act, sleep until the next deadline or change; for ever."""
        bell = self._core.bell.listen()
        while True:
            await wait_for_bell(bell, self._sleep_seconds())
            try:
                await self.look()
            except Exception:
                log.exception("the enforcer could not look; it tries again in a second")
                self._begun = False
                self._core.next_deadline_ms = self._core.clock.now_ms() + 1000

    def _sleep_seconds(self) -> float:
        deadline_ms = self._core.next_deadline_ms
        if deadline_ms is None:
            return LOOK_AGAIN_SECONDS
        return min(max(deadline_ms - self._core.clock.now_ms(), 0) / 1000 + 0.001, LOOK_AGAIN_SECONDS)

    async def look(self) -> None:
        """Do what is due, look at what changed, and find the next deadline."""
        touched = {key for key in self._core.touched if key[0]}
        self._core.touched -= touched
        if not self._begun:
            touched |= await self._core.database.run(self._everything)
        now_ms = self._core.clock.now_ms()
        due = self.deadlines.take_due(now_ms)
        acted = 0
        for organization in sorted({key[0] for key in touched} | {key[1] for key in due if key[0] == CREDIT}):
            acted += await self._isolated((CREDIT, organization), self._look_at(organization))
        people = sorted(touched | {(key[1], key[2], key[3]) for key in due if key[0] == BUDGET})
        for first in range(0, len(people), PEOPLE_AT_ONCE):
            acted += await self._look_at_budgets(people[first : first + PEOPLE_AT_ONCE])
        if (DAY,) in due or not self._begun:
            await self._isolated((DAY,), self._close_day(now_ms))
        self._begun = True
        self._core.next_deadline_ms = self.deadlines.earliest_ms()
        if acted:
            self._core.bell.ring()

    async def _isolated(self, key: tuple[str, ...], work: Awaitable[int]) -> int:
        """What goes wrong with one must not keep the others from being looked at; it is tried again soon."""
        try:
            return await work
        except LeaseHeld:
            raise
        except Exception:
            self._try_again(key)
            return 0

    def _try_again(self, key: tuple[str, ...]) -> None:
        log.exception("the enforcer could not look at %s; it tries again in a second", bounded("/".join(key)))
        self.deadlines.set(key, self._core.clock.now_ms() + 1000)

    async def _close_day(self, now_ms: int) -> int:
        await close_of_day(self._core)
        self.deadlines.set((DAY,), day_start_ms(now_ms) + DAY_MS)
        return 0

    async def _look_at(self, organization: str) -> int:
        acted, next_ms = await self._core.database.run(lambda c: self._credit.look(c, organization))
        self.deadlines.set((CREDIT, organization), next_ms)
        return acted

    async def _look_at_budgets(self, people: list[Who]) -> int:
        """Some people in one transaction; if that fails, each in one of its own."""
        try:
            found = await self._core.database.run(lambda c: [self._budget.look(c, *who) for who in people])
        except LeaseHeld:
            raise
        except Exception:
            if len(people) > 1:
                return sum([await self._look_at_budgets([who]) for who in people])
            self._try_again((BUDGET, *people[0]))
            return 0
        for _, instants in found:
            for who, at_ms in instants.items():
                self.deadlines.set((BUDGET, *who), at_ms)
        return sum(acted for acted, _ in found)

    def _everything(self, connection: sa.Connection) -> set[tuple[str, str, str]]:
        """All organizations, and everybody who uses something: what a fresh start looks at once."""
        found: set[tuple[str, str, str]] = set()
        for organization in {*organizations_with_meters(connection), *self._core.offer.organizations}:
            found.add((organization, "", ""))
            prefix = f"{organization}/member/"
            for meter in list_meters(connection, prefix):
                if meter.usage.spans:
                    team, person = meter.scope.removeprefix(prefix).split("/", 1)
                    found.add((organization, team, person))
        return found
