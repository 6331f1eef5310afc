"""A simulated year of a thousand workspaces on a virtual clock, and an oracle that must agree to the micro-credit.

People start and stop, ends become known late, starts fail, organizations top up, get and lose grants, run out and
are paused by the real enforcer at the instant that it chose itself, days close, prices change, and the service is
restarted again and again.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from databases import in_memory_folder, migrated
from money_oracle import Oracle
from real_service import DAY_MS, HOUR_MS, RATES, T0, TEAMS, Account, RealService, make_offer
from report import Finding

from jupyterhub_vessl.ledger.history import balance_as_of

POLICIES = {
    "acme": "buffer: 10, opening: 100, grace: 24h, notice_every: 6h",
    "umbrella": "policy: pause-at-zero, opening: 20, grace: 12h, notice_every: 6h",
    "initech": "buffer: 2, opening: 5, grace: never, reserve: 5m, notice_every: 24h",
    "hooli": "buffer: 10, opening: 1000, reprice: now, notice_every: 6h",
}
FLOORS = {"acme": 10_000_000, "umbrella": 0, "initech": 2_000_000, "hooli": 10_000_000}
SESSIONS_A_YEAR = 4
HOME_PRICE = "0.02"


class Hub:
    """Stops servers at once, and reports their end as the spawner does."""

    def __init__(self) -> None:
        self.stopped: Callable[[str, str], Any]

    async def stop(self, user: str, server_name: str, *, remove: bool = False) -> bool:
        await self.stopped(user, server_name)
        return True

    async def close(self) -> None:
        return


class Year:
    """One seed."""

    def __init__(self, seed: int, workspaces: int, days: int, folder: Path) -> None:
        self.random, self.days = random.Random(seed), days
        self.folder, self.url = folder, f"sqlite:///{folder}/year.sqlite"
        self.orgs = list(POLICIES)
        self.people = {f"u{n}": self.orgs[n % len(self.orgs)] for n in range(workspaces)}
        self.hub = Hub()
        self.hub.stopped = self._stopped
        self.prices = dict(RATES)
        self.now_ms = T0
        self.accounts = {org: Account(Oracle(T0)) for org in self.orgs}
        self.running: dict[str, str] = {}
        self.since: dict[str, int] = {}
        self.paid: dict[str, list[str]] = {org: [] for org in self.orgs}
        self.grants: dict[str, list[str]] = {org: [] for org in self.orgs}
        self.seen: list[tuple[str, int, int]] = []
        self.agenda: list[tuple[int, int, str, str]] = []
        self.counts: Counter[str] = Counter()
        self.count = 0
        self.wrong: list[str] = []
        self.service: RealService

    # -- the calendar ----------------------------------------------------------------

    def plan(self, after_ms: float, what: str, who: str) -> None:
        self.count += 1
        heapq.heappush(self.agenda, (self.now_ms + max(1, int(after_ms)), self.count, what, who))

    def _soon(self, mean_ms: float) -> float:
        return self.random.expovariate(1 / mean_ms)

    async def run(self) -> None:
        migrated(self.url)
        await self._restart()
        for org, opening in (("acme", 100), ("umbrella", 20), ("initech", 5), ("hooli", 1000)):
            self.accounts[org].oracle.paid = opening * 1_000_000
        end_ms = T0 + self.days * DAY_MS
        for user in self.people:
            self.plan(self._soon(self.days * DAY_MS / SESSIONS_A_YEAR), "start", user)
        for org in self.orgs:
            for what in ("top_up", "grant", "void", "refund"):
                self.plan(self._soon(20 * DAY_MS), what, org)
        for what in ("restart", "compare"):
            self.plan(self._soon(10 * DAY_MS), what, "")
        while not self.wrong:
            deadline_ms = self.service.core.next_deadline_ms
            at_ms, _, what, who = self.agenda[0]
            if at_ms > end_ms:
                break
            if deadline_ms is not None and deadline_ms < at_ms:
                self.now_ms = max(deadline_ms, self.now_ms)
            else:
                heapq.heappop(self.agenda)
                self.now_ms = at_ms
                await getattr(self, "_" + what)(who)
                self.counts[what] += 1
            await self._look()
        self.now_ms = max(self.now_ms, end_ms)
        await self._compare("", thorough=True)
        await self.service.close()

    async def _do(self, org: str, do: str, /, **options: Any) -> dict[str, Any]:
        command = {"do": do, "at_ms": self.now_ms, **options}
        answer = await self.service.do(command)
        self.accounts[org].tell(command, answer)
        return answer

    # -- what people do ----------------------------------------------------------------

    async def _start(self, user: str) -> None:
        org = self.people[user]
        self.count += 1
        spec = self.random.choice(["cpu-small", "cpu-medium", "odd", "odd", "h100-1"])
        asked = {"org": org, "team": TEAMS[len(user) % 2], "spec": spec}
        answer = await self._do(org, "admit", key=f"key-{self.count:08d}", user=user, name="", **asked)
        if "refused" in answer:
            self.counts["refused"] += 1
            self.plan(self._soon(30 * DAY_MS), "start", user)
            return
        self.running[user] = answer["admission"]
        self.plan(self.random.randrange(1, 60_000), "ready" if self.random.random() > 0.03 else "end", user)

    async def _ready(self, user: str) -> None:
        if user in self.running:  # else it was paused before it was ready
            await self._do(self.people[user], "ready", admission=self.running[user])
            self.since[user] = self.now_ms
            self.plan(self._soon(8 * HOUR_MS), "end", user)

    async def _end(self, user: str) -> None:
        if user not in self.running:
            return
        late = self.random.random() < 0.15
        ran_ms = self.now_ms - self.since.get(user, self.now_ms)
        elapsed_ms = self.random.randrange(min(ran_ms, 6 * DAY_MS) + 1) if late else 0
        await self._ended(user, elapsed_ms, "lost" if late else "user")

    async def _ended(self, user: str, elapsed_ms: int, reason: str) -> None:
        org, admission = self.people[user], self.running.pop(user)
        answer = await self._do(org, "ended", admission=admission, elapsed_ms=elapsed_ms, reason=reason)
        self.since.pop(user, None)
        self.counts["late ends"] += elapsed_ms > 0
        if elapsed_ms:
            self.seen = [entry for entry in self.seen if entry[0] != org or entry[1] <= answer["at_ms"]]
        self.plan(self._soon(self.days * DAY_MS / SESSIONS_A_YEAR), "start", user)

    async def _stopped(self, user: str, _: str) -> None:
        if user in self.running:
            self.counts["stopped by the service"] += 1
            await self._ended(user, 0, "user")

    async def _top_up(self, org: str) -> None:
        amount = f"{self.random.randrange(1, 900 * 10**6) / 10**6:.6f}"
        self.count += 1
        self.paid[org].append(f"r{self.count}")
        await self._do(org, "top_up", org=org, amount=amount, reference=f"r{self.count}")
        self.plan(self._soon(12 * DAY_MS), "top_up", org)

    async def _refund(self, org: str) -> None:
        if self.paid[org]:
            self.count += 1
            options = {"reference": f"b{self.count}", "top_up": self.random.choice(self.paid[org])}
            await self._do(org, "refund", org=org, amount=f"{self.random.randrange(1, 10**6) / 10**6:.6f}", **options)
        self.plan(self._soon(40 * DAY_MS), "refund", org)

    async def _grant(self, org: str) -> None:
        self.count += 1
        begins = self.now_ms + (self.random.randrange(20 * DAY_MS) if self.random.random() < 0.4 else 0)
        applies = self.random.choice([{}, {"gpu": True}, {"gpu": False}, {"kind": "storage"}, {"specs": ["odd"]}])
        lasts = self.random.randrange(1, 40 * DAY_MS)
        options: dict[str, Any] = {"effective": begins, "applies": applies, "priority": self.random.randrange(3)}
        if self.random.random() < 0.8:
            options["expires"] = begins + lasts
        amount = f"{self.random.randrange(1, 30 * 10**6) / 10**6:.6f}"
        answer = await self._do(org, "grant", org=org, amount=amount, reference=f"g{self.count}", **options)
        if "refused" not in answer:
            self.grants[org].append(answer["grant"])
        self.plan(self._soon(20 * DAY_MS), "grant", org)

    async def _void(self, org: str) -> None:
        if self.grants[org]:
            await self._do(org, "void", org=org, grant=self.random.choice(self.grants[org]))
        self.plan(self._soon(60 * DAY_MS), "void", org)

    # -- the service -------------------------------------------------------------------

    async def _restart(self, _: str = "") -> None:
        """With a price that is another one now, which moves what runs where the policy says so."""
        if hasattr(self, "service"):
            await self.service.close()
            self.prices["odd"] = f"{self.random.randrange(1, 5 * 10**6) / 10**6:.6f}"
        offer = make_offer(POLICIES, self.prices, HOME_PRICE)
        self.service = RealService(offer, self.url, self.folder, self.hub)
        await self.service.open(self.now_ms)
        rate = offer.resource_specs["odd"].rate_micros_per_hour
        oracle = self.accounts["hooli"].oracle
        oracle.move_to(self.now_ms)
        for name, use in list(oracle.uses.items()):
            if use.item == "odd" and use.rate != rate:
                oracle.reprice(name, rate)
                self.counts["repriced"] += 1
        self.plan(self._soon(8 * DAY_MS), "restart", "")

    async def _look(self) -> None:
        """The enforcer looks, and what it decided is carried out at once."""
        await self.service.do({"do": "look", "at_ms": self.now_ms})
        intents = (await self.service.do({"do": "intents", "at_ms": self.now_ms}))["workspaces"]
        if not intents:
            return
        for org in {self._org_of(workspace) for workspace, intent in intents.items() if intent == "exhaust"}:
            self._check_pause(org)
        await self.service.do({"do": "carry", "at_ms": self.now_ms})
        left = (await self.service.do({"do": "intents", "at_ms": self.now_ms}))["workspaces"]
        if left:
            self.wrong.append(f"{left} is decided and was not carried out")
        for workspace, intent in intents.items():
            if intent == "terminate":
                self.counts["terminated"] += 1
                self.accounts[self._org_of(workspace)].end_home(workspace, self.now_ms)

    def _org_of(self, workspace: str) -> str:
        for org, account in self.accounts.items():
            if any(known["workspace"] == workspace for known in account.admitted.values()):
                return org
        raise KeyError(workspace)

    def _check_pause(self, org: str) -> None:
        """A pause comes at the very millisecond at which the wallet reaches the floor.

        Unless it is past its floor already, because of storage, and only now has to pay for what runs: it has just
        become ready, or a grant has just ended.
        """
        self.counts["exhaustions"] += 1
        oracle = self.accounts[org].oracle
        oracle.move_to(self.now_ms)
        fresh = any(use.kind == "compute" and use.from_ms == self.now_ms for use in oracle.uses.values())
        if fresh or any(gift.state == "live" or gift.ended_ms == self.now_ms for gift in oracle.gifts.values()):
            return
        self.counts["exact pauses"] += 1
        over = -FLOORS[org] - oracle.wallet()
        burn = sum(use.rate for use in oracle.uses.values()) // HOUR_MS + len(oracle.uses) + 1
        if not 0 <= over <= burn:
            self.wrong.append(f"{org} was paused {over} micro-credits past its floor; at most {burn} is right")

    async def _compare(self, _: str = "", thorough: bool = False) -> None:
        for org, account in self.accounts.items():
            found = await self.service.do({"do": "state", "org": org, "at_ms": self.now_ms})
            expected = account.expected(self.now_ms)
            self.counts["comparisons"] += 1
            if found != expected:
                self.wrong.append(f"{org} at {self.now_ms}: {found} is in the books, {expected} is right")
            self.seen.append((org, self.now_ms, expected["total"]))
        if thorough:
            self.wrong += (await self.service.do({"do": "audit", "at_ms": self.now_ms}))["wrong"]
            for org, at_ms, micros in self.seen:
                at = await self.service.core.database.run(lambda c, o=org, m=at_ms: balance_as_of(c, o, m))
                if at != micros:
                    self.wrong.append(f"{org} as of {at_ms}: {at} is said now, {micros} was said then")
        self.plan(self._soon(10 * DAY_MS), "compare", "")


def simulate(seed: int, workspaces: int, days: int) -> tuple[int, Counter[str], list[str]]:
    """One seed in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="vessl-year-", dir=in_memory_folder()) as folder:
        year = Year(seed, workspaces, days, Path(folder))
        asyncio.run(year.run())
        return seed, year.counts, year.wrong


def simulate_many(what: str, seeds: list[int], workspaces: int, days: int, processes: int) -> Finding:
    """All seeds, some at a time."""
    finding = Finding(what)
    counts: Counter[str] = Counter()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for seed, more, wrong in pool.map(simulate, seeds, [workspaces] * len(seeds), [days] * len(seeds)):
            counts += more
            finding.wrong += [f"seed {seed}: {why}" for why in wrong[:3]]
    finding.tried = f"{len(seeds)} seeds × {days} days × {workspaces:,} workspaces"
    named = ("start", "late ends", "restart", "exhaustions", "comparisons")
    finding.figures = ", ".join(f"{counts[name]:,} {name}" for name in named) + f", {len(finding.wrong)} differences"
    return finding.done()
