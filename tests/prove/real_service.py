"""The real service without HTTP, its loops and the machine's clock: told in commands, each a dict, as of an instant.

`RealService` puts the parts together that have to do with money.  `Account` tells an oracle what was
answered, so that afterwards every balance can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from money_oracle import Gift, Oracle, Use

from jupyterhub_vessl.ledger import records
from jupyterhub_vessl.ledger.audit import audit, audit_usage
from jupyterhub_vessl.ledger.database import Database
from jupyterhub_vessl.ledger.funding import credit_state
from jupyterhub_vessl.ledger.history import balance_as_of
from jupyterhub_vessl.model.availability import Capacity
from jupyterhub_vessl.model.catalog import Offer
from jupyterhub_vessl.model.errors import PublicError
from jupyterhub_vessl.model.identity import Principal, principal_from_groups
from jupyterhub_vessl.model.wire import AdmissionRequest, EndedReport, ReadyReport
from jupyterhub_vessl.model.wire_credits import GrantRequest, RefundRequest, TopUpRequest, VoidRequest
from jupyterhub_vessl.offer import parse_offer
from jupyterhub_vessl.service.admission import Admissions
from jupyterhub_vessl.service.carrier import Carrier
from jupyterhub_vessl.service.clusters import Look
from jupyterhub_vessl.service.core import Core
from jupyterhub_vessl.service.credits import Credits
from jupyterhub_vessl.service.day_close import close_of_day
from jupyterhub_vessl.service.enforcer import Enforcer
from jupyterhub_vessl.service.hub_client import HubClient
from jupyterhub_vessl.service.openings import open_books
from jupyterhub_vessl.service.sightings import Sightings
from jupyterhub_vessl.service.workspaces import Workspaces

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
T0 = 20_834 * DAY_MS - 30 * 60_000
"""Half an hour before a midnight."""
TEAMS = ("vision", "speech")
RATES = {"cpu-small": "0.05", "cpu-medium": "0.11", "h100-1": "2.39", "odd": "3.333333"}

_OFFER = """
organizations: {{{organizations}}}
clusters:
  here: {{kind: local, title: Here}}
resource_specs:
  cpu-small: {{title: S, cpu: 1, memory: 1Gi, temporary: 1Gi, price_per_hour: {prices[cpu-small]}}}
  cpu-medium: {{title: M, cpu: 1, memory: 1Gi, temporary: 1Gi, price_per_hour: {prices[cpu-medium]}}}
  odd: {{title: O, cpu: 1, memory: 1Gi, temporary: 1Gi, price_per_hour: {prices[odd]}}}
  h100-1:
    {{title: H, cpu: 1, memory: 1Gi, temporary: 1Gi, price_per_hour: {prices[h100-1]}, gpu: {{type: H100, count: 1}}}}
images:
  laptop: {{title: Python}}
storage:
  workspace: {{size: 7Gi, price_per_gib_month: {home}}}
"""
_TEAMS = "{vision: {title: V}, speech: {title: S}}"


def make_offer(organizations: dict[str, str], prices: dict[str, str] = RATES, home: str = "0") -> Offer:
    """An offer; ``organizations`` gives the text of each one's credit policy, ``home`` the price of a GiB and month."""
    texts = [f"{name}: {{title: {name}, credits: {{{text}}}, teams: {_TEAMS}}}" for name, text in organizations.items()]
    return parse_offer(_OFFER.format(organizations=", ".join(texts), prices=prices, home=home))


class StillClock:
    """A clock that stands where it is put."""

    def __init__(self, ms: int = T0) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms


class StandInClusters:
    """Room for everything, nothing to look at."""

    async def capacities(self) -> dict[str, Capacity]:
        return {"here": Capacity(gpus={"H100": 10_000})}

    async def look(self) -> Look:
        return Look({})

    async def end(self, workspace_id: str, cluster: str) -> None:
        return

    async def remove_volumes(self, plan: object) -> None:
        return


def admin(organization: str) -> Principal:
    return principal_from_groups("ada", [f"vessl:{organization}:admin"])


class RealService:
    """The parts of the service, on a database, at the instants that each command says."""

    def __init__(
        self, offer: Offer, url: str, folder: Path, hub: Any = None, hub_url: str = "http://127.0.0.1:1"
    ) -> None:
        clusters, hub = StandInClusters(), hub or HubClient(hub_url, "token")
        self.core = core = Core(offer, Database(url), hub, clusters, Sightings(folder))  # type: ignore[arg-type]
        self.clock = core.clock = StillClock()  # type: ignore[assignment]
        self.admissions, self.credits, self.workspaces = Admissions(core), Credits(core), Workspaces(core)
        self.enforcer, self.carrier = Enforcer(core), Carrier(core)

    async def open(self, at_ms: int) -> None:
        """As the service's process does before it listens."""
        self.clock.ms = at_ms
        await self.core.database.acquire()
        await self.core.database.run(lambda c: open_books(c, self.core.offer, at_ms))

    async def close(self) -> None:
        await self.core.hub.close()
        self.core.database.close()

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry a command out; a refusal is an answer with ``refused``."""
        options = {key: value for key, value in command.items() if key not in ("do", "at_ms")}
        self.clock.ms = command["at_ms"]
        try:
            answer: dict[str, Any] = await getattr(self, "do_" + command["do"])(**options)
        except PublicError as error:
            return {"refused": error.message}
        return answer

    # -- the spawner's side ----------------------------------------------------------

    async def do_admit(self, key: str, org: str, team: str, user: str, name: str, spec: str) -> dict[str, Any]:
        request = AdmissionRequest(
            user=user,
            groups=(f"vessl:{org}:{team}:member",),
            server_name=name,
            options={"team": team, "spec": spec, "image": "laptop"},
            key=key,
        )
        admission = await self.admissions.admit(request)
        plan = admission.plan
        return {
            "admission": admission.admission_id,
            "workspace": plan.workspace_id,
            "rate": plan.rate_micros_per_hour,
            "home_rate": plan.home.rate_micros_per_hour,
        }

    async def do_ready(self, admission: str) -> dict[str, Any]:
        recorded = await self.admissions.ready(admission, ReadyReport())
        return {"at_ms": recorded.at_ms}

    async def do_ended(self, admission: str, elapsed_ms: int = 0, reason: str = "user") -> dict[str, Any]:
        report = EndedReport(reason=reason, elapsed_ms=elapsed_ms)
        recorded = await self.admissions.ended(admission, report)
        return {"at_ms": recorded.at_ms}

    # -- people ------------------------------------------------------------------------

    async def do_top_up(self, org: str, amount: str, reference: str) -> dict[str, Any]:
        done = await self.credits.top_up(admin(org), org, TopUpRequest(amount=amount, reference=reference))
        return {"at_ms": done.at_ms, "micros": done.amount_micros}

    async def do_refund(self, org: str, amount: str, reference: str, top_up: str) -> dict[str, Any]:
        request = RefundRequest(amount=amount, reference=reference, top_up=top_up)
        done = await self.credits.refund(admin(org), org, request)
        return {"at_ms": done.at_ms, "micros": done.amount_micros}

    async def do_grant(self, org: str, **request: Any) -> dict[str, Any]:
        grant = (await self.credits.grant(admin(org), org, GrantRequest(**request))).grant
        applies = grant.applies
        return {
            "grant": grant.id,
            "at_ms": grant.created_ms,
            "number": grant.number,
            "amount": grant.amount_micros,
            "priority": grant.priority,
            "from_ms": grant.effective_ms,
            "expires_ms": grant.expires_ms,
            "applies": {"kind": applies.kind, "gpu": applies.gpu, "specs": applies.specs},
        }

    async def do_void(self, org: str, grant: str) -> dict[str, Any]:
        done = await self.credits.void(admin(org), org, grant, VoidRequest())
        return {"number": done.grant.number, "at_ms": done.grant.ended_ms}

    async def do_terminate(self, workspace: str, user: str, org: str) -> dict[str, Any]:
        await self.workspaces.terminate(principal_from_groups(user, [f"vessl:{org}:admin"]), workspace)
        return {}

    # -- the service's loops -----------------------------------------------------------

    async def do_look(self) -> dict[str, Any]:
        await self.enforcer.look()
        return {"next_ms": self.core.next_deadline_ms}

    async def do_carry(self) -> dict[str, Any]:
        return {"left": await self.carrier.carry()}

    async def do_close_day(self) -> dict[str, Any]:
        await close_of_day(self.core)
        return {}

    # -- looking -----------------------------------------------------------------------

    async def do_state(self, org: str) -> dict[str, Any]:
        return await self.core.database.run(lambda c: state_of(c, org, self.clock.ms))

    async def do_audit(self) -> dict[str, Any]:
        return {"wrong": await self.core.database.run(lambda c: wrong_in(c, self.clock.ms))}

    async def do_intents(self) -> dict[str, Any]:
        found = await self.core.database.run(lambda c: records.find_workspaces(c, records.INTENDED))
        return {"workspaces": {w.id: w.intent for w in found}}


def state_of(connection: sa.Connection, organization: str, now_ms: int) -> dict[str, Any]:
    """An organization's credits, exactly."""
    state = credit_state(connection, organization, "USD", now_ms, exact=True)
    return {
        "total": state.balance_micros(now_ms),
        "as_of": balance_as_of(connection, organization, now_ms),
        "wallet": state.wallet.micros(now_ms),
        "left": {str(fund.number): fund.left_micros for fund in state.funds},
    }


def wrong_in(connection: sa.Connection, now_ms: int) -> list[str]:
    """What the audits find, one sentence each; nothing when the books are in order and sum to 0."""
    report = audit(connection)
    wrong = [d.sentence() for d in (*report.differences, *audit_usage(connection, now_ms))]
    return wrong if report.sum_micros == 0 else [*wrong, f"all accounts sum to {report.sum_micros}"]


@dataclass
class Account:
    """One organization in the oracle, told what the service answered."""

    oracle: Oracle
    admitted: dict[str, dict[str, Any]] = field(default_factory=dict)
    homes: set[str] = field(default_factory=set)

    def tell(self, command: dict[str, Any], answer: dict[str, Any]) -> None:
        """An answer came: what it says counts from now on.  Answers must come in the order of their instants."""
        if "refused" in answer:
            return
        getattr(self, "_" + command["do"])(command, answer)

    def _admit(self, command: dict[str, Any], answer: dict[str, Any]) -> None:
        self.admitted[answer["admission"]] = {"spec": command["spec"], **answer}

    def _ready(self, command: dict[str, Any], answer: dict[str, Any]) -> None:
        known, at_ms = self.admitted[command["admission"]], answer["at_ms"]
        self.oracle.move_to(at_ms)
        spec = known["spec"]
        use = Use("compute", spec, spec.startswith("h100"), known["rate"], at_ms)
        self.oracle.start(command["admission"], use)
        workspace = known["workspace"]
        if known["home_rate"] and workspace not in self.homes:
            self.homes.add(workspace)
            self.oracle.start(workspace, Use("storage", "workspace", False, known["home_rate"], at_ms))

    def _ended(self, command: dict[str, Any], answer: dict[str, Any]) -> None:
        recorded_ms = max(answer["at_ms"] + command.get("elapsed_ms", 0), self.oracle.now_ms)
        self.oracle.move_to(recorded_ms)
        if command["admission"] in self.oracle.uses:
            self.oracle.end(command["admission"], answer["at_ms"])

    def _top_up(self, command: dict[str, Any], answer: dict[str, Any]) -> None:
        self.oracle.move_to(answer["at_ms"])
        self.oracle.paid += answer["micros"]

    _refund = _top_up

    def _grant(self, command: dict[str, Any], answer: dict[str, Any]) -> None:
        self.oracle.move_to(answer["at_ms"])
        applies = answer["applies"] | {"specs": tuple(answer["applies"]["specs"])}
        names = ("number", "amount", "priority", "from_ms", "expires_ms")
        self.oracle.give(Gift(**{name: answer[name] for name in names}, **applies))

    def _void(self, command: dict[str, Any], answer: dict[str, Any]) -> None:
        if self.oracle.gifts[answer["number"]].state in ("live", "scheduled"):
            self.oracle.move_to(answer["at_ms"])
            self.oracle.void(answer["number"])

    def end_home(self, workspace: str, at_ms: int) -> None:
        self.oracle.move_to(at_ms)
        if workspace in self.homes:
            self.homes.discard(workspace)
            self.oracle.end(workspace, at_ms)

    def expected(self, at_ms: int) -> dict[str, Any]:
        """As `state_of`."""
        self.oracle.move_to(at_ms)
        left = {str(number): micros for number, micros in self.oracle.left_of_gifts().items()}
        total = self.oracle.total()
        return {"total": total, "as_of": total, "wallet": self.oracle.wallet(), "left": left}
