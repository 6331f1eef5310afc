"""Prometheus metrics: what the books say, at the edge and nowhere else as floating point numbers.

Nothing is counted in memory alone.  Balances and rates come from meters, so they cost the same however many
workspaces run; what open spans have accrued is summed up by the database.  Counters are sums over what the
books only ever add to, read on from where the last scrape ended, so a restart changes none of them: a counter
that went down would look like one that began anew, and all that was ever used like used at once.  No label
names a person.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..ledger.funding import credit_state
from ..ledger.meters import Meter, list_meters, organizations_with_meters, read_meter
from ..ledger.schema import admissions, events, outbox, spans, transactions, workspaces
from ..model.errors import NotAllowed, NotSignedIn
from ..model.lifecycle import State
from ..model.money import HOUR_MS, MICROS
from ..model.usage import COMPUTE, UsageClass
from .api.base import ApiHandler
from .core import Core

READ_METRICS = "read:metrics"
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
ROWS_AT_ONCE = 20_000
"""So much of the past is read in one transaction after a restart: starts and stops come in between."""
OPEN_KINDS = ("paused", "failed")
"""Events that are written with the end of an admission."""

Used = dict[tuple[str, str, str, str], int]
"""Micro-credits by (organization, team, kind, item)."""


@dataclass
class Figures:
    """What one scrape shows.  Money in micro-credits; instants and spans of time in milliseconds."""

    balances: dict[str, int] = field(default_factory=dict)
    rates: dict[tuple[str, str], int] = field(default_factory=dict)
    used: Used = field(default_factory=dict)
    servers: dict[tuple[str, str], int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    notices: dict[str, int] = field(default_factory=dict)
    lag_ms: int = 0
    clusters: dict[str, bool] = field(default_factory=dict)


class Metrics:
    """Reads the figures of each scrape, and remembers how far it has read what is only ever added to."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._booked: Used = {}
        self._shown: Used = {}
        self._serial = 0
        self._ends: dict[str, int] = {}
        self._event_id = 0

    async def read(self) -> Figures:
        """The figures now."""
        while await self._core.database.read(self._read_on):
            pass
        balances = await self._core.database.run(self._balances)
        figures = await self._core.database.read(self._figures)
        figures.balances = balances
        clusters = self._core.clusters
        figures.clusters = {name: name not in clusters.troubles for name in clusters.adapters}
        return figures

    def _figures(self, connection: sa.Connection) -> Figures:
        self._read_on(connection)
        now_ms = self._core.clock.now_ms()
        every = _meters(connection)
        seen_ms = min(self._core.sightings.last().alive_ms, now_ms)
        accrued, oldest_ms = _accrued(connection, now_ms, seen_ms)
        return Figures(
            rates=_rates(every),
            used=self._used(accrued),
            servers=_servers(connection, every),
            ends=dict(self._ends),
            notices=_notices(connection),
            lag_ms=self._lag_ms(now_ms, now_ms if oldest_ms is None else max(seen_ms, oldest_ms)),
        )

    def _balances(self, connection: sa.Connection) -> dict[str, int]:
        offered, now_ms = self._core.offer.organizations, self._core.clock.now_ms()
        names = {*organizations_with_meters(connection), *offered}
        found = {}
        for name in sorted(names):
            currency = offered[name].currency if name in offered else ""
            state = credit_state(connection, name, currency, now_ms, exact=False)
            found[name] = state.balance_micros(now_ms)
        return found

    # -- counters --------------------------------------------------------------

    def _read_on(self, connection: sa.Connection) -> bool:
        """Take in what was added since; False when that was all of it."""
        last_serial = self._last(connection, transactions.c.serial, self._serial)
        last_event = self._last(connection, events.c.id, self._event_id)
        booked = _booked(connection, self._serial, last_serial)
        ended = _ended(connection, self._event_id, last_event)
        # nothing fails from here on, so nothing is counted twice
        for key, micros in booked.items():
            self._booked[key] = self._booked.get(key, 0) + micros
        for reason, count in ended.items():
            self._ends[reason] = self._ends.get(reason, 0) + count
        more = max(last_serial - self._serial, last_event - self._event_id) >= ROWS_AT_ONCE
        self._serial, self._event_id = last_serial, last_event
        return more

    def _last(self, connection: sa.Connection, column: sa.Column[int], since: int) -> int:
        last = int(connection.execute(sa.select(sa.func.max(column))).scalar() or 0)
        return min(max(last, since), since + ROWS_AT_ONCE)

    def _used(self, accrued: Used) -> Used:
        """What was booked and what is sure to be; never less than in an earlier scrape."""
        for key in {*self._booked, *accrued}:
            micros = self._booked.get(key, 0) + accrued.get(key, 0)
            self._shown[key] = max(self._shown.get(key, 0), micros)
        return dict(self._shown)

    def _lag_ms(self, now_ms: int, seen_ms: int) -> int:
        """How late the enforcer is, or how old the last word that everything billed still runs, if that is more."""
        deadline_ms = self._core.next_deadline_ms
        late_ms = 0 if deadline_ms is None else now_ms - deadline_ms
        return max(0, late_ms, now_ms - seen_ms)


def _booked(connection: sa.Connection, after: int, last: int) -> Used:
    """Usage that was booked in these transactions.  Corrections take back and are left out: a counter only grows."""
    grouped = (transactions.c.organization, transactions.c.team, spans.c.kind, transactions.c.item)
    query = (
        sa.select(*grouped, sa.func.sum(-transactions.c.amount_micros))
        .join(spans, spans.c.id == transactions.c.span_id)
        .where(transactions.c.serial > after, transactions.c.serial <= last, transactions.c.kind == "usage")
        .group_by(*grouped)
    )
    return {(row[0], row[1], row[2], row[3]): int(row[4]) for row in connection.execute(query)}


def _accrued(connection: sa.Connection, now_ms: int, seen_ms: int) -> tuple[Used, int | None]:
    """(what open spans have accrued and is sure to be booked, since when the oldest compute runs or None).

    That compute still ran is sure up to the last instant that was written down as seen alive: an end that is
    learnt after a restart is not before it.  It is rounded down, and by one more micro-credit for each span, so
    that what is booked later is never less.
    """
    until_ms = sa.case((spans.c.kind == COMPUTE, seen_ms), else_=now_ms)
    open_ms = sa.case((spans.c.settled_ms < until_ms, until_ms - spans.c.settled_ms), else_=0)
    micros = spans.c.rate_micros_per_hour * open_ms // HOUR_MS - 1
    grouped = (spans.c.organization, spans.c.team, spans.c.kind, spans.c.item)
    query = (
        sa.select(*grouped, sa.func.sum(sa.case((micros > 0, micros), else_=0)), sa.func.min(spans.c.started_ms))
        .where(spans.c.ended_ms.is_(None))
        .group_by(*grouped)
    )
    rows = connection.execute(query).all()
    used = {(row[0], row[1], row[2], row[3]): int(row[4]) for row in rows}
    return used, min((int(row[5]) for row in rows if row[2] == COMPUTE), default=None)


def _ended(connection: sa.Connection, after: int, last: int) -> dict[str, int]:
    """Why admissions ended, of those whose end these events tell."""
    query = (
        sa.select(admissions.c.end_reason, sa.func.count())
        .select_from(events)
        .join(
            admissions,
            sa.and_(
                admissions.c.workspace_id == events.c.workspace_id,
                admissions.c.ended_ms == events.c.at_ms,
            ),
        )
        .where(events.c.id > after, events.c.id <= last, events.c.kind.in_(OPEN_KINDS))
        .group_by(admissions.c.end_reason)
    )
    return {str(reason): int(count) for reason, count in connection.execute(query)}


# -- gauges --------------------------------------------------------------------


def _meters(connection: sa.Connection) -> tuple[Meter, ...]:
    """The meters of organizations, teams and classes of usage; those of people are many, and nobody's business."""
    found: list[Meter] = []
    for name in organizations_with_meters(connection):
        found.append(read_meter(connection, name))
        for kind in ("team", "class"):
            found += list_meters(connection, f"{name}/{kind}/")
    return tuple(found)


def _rates(every: Iterable[Meter]) -> dict[tuple[str, str], int]:
    """Micro-credits per hour by (organization, team); usage of no team is under the empty team."""
    found: dict[tuple[str, str], int] = {}
    for meter in every:
        rate, organization = meter.usage.rate_micros_per_hour, meter.organization
        team = _part(meter, "team")
        if team is not None:
            found[organization, team] = rate
        if team is not None or meter.scope == organization:
            found[organization, ""] = found.get((organization, ""), 0) + (rate if team is None else -rate)
    return found


def _part(meter: Meter, kind: str) -> str | None:
    prefix = f"{meter.organization}/{kind}/"
    return meter.scope.removeprefix(prefix) if meter.scope.startswith(prefix) else None


def _servers(connection: sa.Connection, every: Iterable[Meter]) -> dict[tuple[str, str], int]:
    """Living workspaces by (state, resource spec): running ones from the meters, the others one by one."""
    found: dict[tuple[str, str], int] = {}
    for meter in every:
        key = _part(meter, "class")
        usage = UsageClass.from_key(key) if key else None
        if usage is not None and usage.kind == COMPUTE and meter.usage.spans:
            slot = (State.RUNNING.value, usage.item)
            found[slot] = found.get(slot, 0) + meter.usage.spans
    plan = workspaces.c.plan
    as_json = sa.cast(plan, sa.JSON) if connection.dialect.name == "postgresql" else sa.type_coerce(plan, sa.JSON)
    spec = as_json["spec"]["name"].as_string().label("spec")
    others = (
        sa.select(workspaces.c.state, spec)
        .where(workspaces.c.slot.is_not(None), workspaces.c.state != State.RUNNING.value)
        .subquery()
    )
    query = sa.select(others.c.state, others.c.spec, sa.func.count()).group_by(others.c.state, others.c.spec)
    for state, name, count in connection.execute(query):
        found[state, name or ""] = int(count)
    return found


def _notices(connection: sa.Connection) -> dict[str, int]:
    """How many notices the outbox has, by what became of them."""
    found = {"waiting": 0, "delivered": 0, "gave up": 0, "dropped": 0}
    for outcome, count in connection.execute(sa.select(outbox.c.outcome, sa.func.count()).group_by(outbox.c.outcome)):
        word = str(outcome).split(":", 1)[0] or "waiting"
        found[word] = found.get(word, 0) + int(count)
    return found


# -- Prometheus ----------------------------------------------------------------


class FiguresCollector(Collector):
    """The figures of one scrape as Prometheus takes them."""

    def __init__(self, figures: Figures, prefix: str) -> None:
        self._figures = figures
        self._prefix = f"{prefix}_vessl_"

    def describe(self) -> Iterable[Metric]:
        """Nothing: it is registered for one scrape only."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Every family, also those that have no sample yet."""
        figures = self._figures
        balance = self._gauge("credit_balance", "Credits left.", "organization", "team")
        for organization, micros in figures.balances.items():
            balance.add_metric((organization, ""), micros / MICROS)
        rate = self._gauge("spend_rate", "Credits that are being used per hour.", "organization", "team")
        for (organization, team), micros in figures.rates.items():
            rate.add_metric((organization, team), micros / MICROS)
        used = self._counter(
            "credits_consumed", "Credits that were used.", "organization", "team", "kind", "resource_spec"
        )
        for labels, micros in figures.used.items():
            used.add_metric(labels, micros / MICROS)
        servers = self._gauge("servers", "Workspaces that are not terminated.", "state", "resource_spec")
        for slot, count in figures.servers.items():
            servers.add_metric(slot, count)
        ends = self._counter("terminations", "Sessions that ended.", "reason")
        for reason, count in figures.ends.items():
            ends.add_metric((reason,), count)
        notices = self._gauge("notices", "Notices of the last 90 days.", "outcome")
        for outcome, count in figures.notices.items():
            notices.add_metric((outcome.replace(" ", "_"),), count)
        lag = self._gauge("billing_lag_seconds", "How far billing is behind.")
        lag.add_metric((), figures.lag_ms / 1000)
        up = self._gauge("cluster_up", "Whether a cluster answers.", "cluster")
        for name, answers in figures.clusters.items():
            up.add_metric((name,), float(answers))
        return (balance, rate, used, servers, ends, notices, lag, up)

    def _gauge(self, name: str, about: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._prefix + name, about, labels=labels)

    def _counter(self, name: str, about: str, *labels: str) -> CounterMetricFamily:
        return CounterMetricFamily(self._prefix + name, about, labels=labels)


def exposition(figures: Figures, prefix: str) -> bytes:
    """The figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(FiguresCollector(figures, prefix))
    return generate_latest(registry)


class MetricsHandler(ApiHandler):
    """``GET metrics``, for a program that scrapes.

    It wants a hub token with the scope ``read:metrics``, as the hub's own metrics do; with
    ``VESSL_AUTHENTICATE_METRICS=false`` in the service's environment it wants none.
    """

    def initialize(self, metrics: Metrics) -> None:
        """``metrics`` is shared by all scrapes: it remembers how far it has read."""
        self._metrics = metrics

    async def prepare(self) -> None:
        """Check the token, whoever it belongs to."""
        if os.environ.get("VESSL_AUTHENTICATE_METRICS", "").strip().lower() == "false":
            return
        await super().prepare()
        model = self._hub_model
        if not model:
            raise NotSignedIn("A hub token with the scope read:metrics is needed.")
        if READ_METRICS not in model.get("scopes", ()):
            raise NotAllowed("This token has not the scope read:metrics.")

    async def get(self) -> None:
        """Everything, as text."""
        figures = await self._metrics.read()
        self.set_header("Content-Type", TEXT_FORMAT)
        self.finish(exposition(figures, os.environ.get("JUPYTERHUB_METRICS_PREFIX") or "jupyterhub"))
