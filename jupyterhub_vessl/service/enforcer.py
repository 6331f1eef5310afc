"""The enforcer: sleeps until the next deadline, then does what the policy says.

It writes nothing while nothing crosses a threshold.  A deadline is computed in closed form from sums, so a
change in one organization costs the same however many workspaces run; only that organization's deadlines are
computed anew.  What happens at a deadline is decided in `model.exhaustion` and `model.limits`; here it is
recorded, and the carrier asks the hub to do it.
"""

from __future__ import annotations

import heapq

import sqlalchemy as sa

from ..ledger.lease import LeaseHeld
from ..ledger.meters import list_meters, organizations_with_meters
from ..model.money import DAY_MS
from ..model.text import bounded
from ..model.usage import day_start_ms
from .budget_watch import BudgetWatch
from .core import Core, log, wait_for_bell
from .credit_watch import CreditWatch
from .day_close import close_of_day

LOOK_AGAIN_SECONDS = 60
"""The longest sleep: a machine that was suspended is noticed within a minute.  Looking so often writes nothing."""


Key = tuple[str, ...]
"""What is looked at: (credit, organization), (budget, organization, team, person), or (day,)."""

CREDIT, BUDGET, DAY = "credit", "budget", "day"


class Deadlines:
    """Instants at which something is to be looked at, by key; finding the earliest does not look at the others."""

    def __init__(self) -> None:
        self._instants: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []

    def set(self, key: Key, at_ms: int | None) -> None:
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

    def take_due(self, now_ms: int) -> list[Key]:
        """Keys whose deadline is here; each is taken away until it is set again."""
        due = []
        while (earliest := self.earliest_ms()) is not None and earliest <= now_ms:
            _, key = heapq.heappop(self._heap)
            del self._instants[key]
            due.append(key)
        return due


KEYS_AT_ONCE = 200
"""So many are looked at in one transaction, as after a start of the service everybody is."""


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
        keys: set[Key] = {(CREDIT, key[0]) for key in touched} | {(BUDGET, *key) for key in touched}
        keys |= {key for key in due if key != (DAY,)}
        ordered = sorted(keys, reverse=True)  # credits before budgets
        acted = 0
        for first in range(0, len(ordered), KEYS_AT_ONCE):
            acted += await self._look_at(ordered[first : first + KEYS_AT_ONCE])
        if (DAY,) in due or not self._begun:
            await self._close_day(now_ms)
        self._begun = True
        self._core.next_deadline_ms = self.deadlines.earliest_ms()
        if acted:
            self._core.bell.ring()

    async def _look_at(self, keys: list[Key]) -> int:
        """Some of them in one transaction; if that fails, each in one of its own, so that what goes wrong with one
        keeps no other from being looked at."""
        try:
            found = await self._core.database.run(lambda c: [self._look_at_one(c, key) for key in keys])
        except LeaseHeld:
            raise
        except Exception:
            if len(keys) > 1:
                return sum([await self._look_at([key]) for key in keys])
            self._try_again(keys[0])
            return 0
        for _, instants in found:
            for key, at_ms in instants.items():
                self.deadlines.set(key, at_ms)
        return sum(acted for acted, _ in found)

    def _look_at_one(self, connection: sa.Connection, key: Key) -> tuple[int, dict[Key, int | None]]:
        """(how much was done, when to look again at what)."""
        if key[0] == CREDIT:
            acted, next_ms = self._credit.look(connection, key[1])
            return acted, {key: next_ms}
        acted, instants = self._budget.look(connection, *key[1:])
        return acted, {(BUDGET, *who): at_ms for who, at_ms in instants.items()}

    async def _close_day(self, now_ms: int) -> None:
        try:
            await close_of_day(self._core)
        except LeaseHeld:
            raise
        except Exception:
            self._try_again((DAY,))
        else:
            self.deadlines.set((DAY,), day_start_ms(now_ms) + DAY_MS)

    def _try_again(self, key: Key) -> None:
        log.exception("the enforcer could not look at %s; it tries again in a second", bounded("/".join(key)))
        self.deadlines.set(key, self._core.clock.now_ms() + 1000)

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
