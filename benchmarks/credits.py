"""What the credits engine costs, side by side with physical limits and a peer.

    python benchmarks/credits.py [--quick] [--json FILE] [--peers-only] [--folder DIRECTORY] [--database URL]
                                 [--only WORD]

Limits and the peer are in `limits` and `credit_service_peer`, our side is in `ours`, `our_books` and
`our_settling`, how they are compared is in `harness`; sizes and goals are here.  Each function below is one comparison.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import limits
import our_books
import our_settling
import ours
from credit_service_peer import running_peer
from harness import Goal, Measure, Section, measure, parser, percentile, run

MS, SECONDS, CPU_SECONDS, PER_SECOND = "ms", "s", "CPU s", "/s"
Measures = Iterator[Sequence[Measure]]


@dataclass(frozen=True)
class Sizes:
    """How much of everything one run takes."""

    spans_few: int
    spans_many: int
    admissions: int
    settled_spans: int
    idle_spans: int
    audited_entries: int
    servers: int
    durable_ms: int


FULL = Sizes(
    spans_few=10_000,
    spans_many=100_000,
    admissions=1_000,
    settled_spans=10_000,
    idle_spans=1_000,
    audited_entries=1_000_000,
    servers=10_000,
    durable_ms=2_000,
)
QUICK = Sizes(
    spans_few=500,
    spans_many=5_000,
    admissions=100,
    settled_spans=2_000,
    idle_spans=30,
    audited_entries=300_000,
    servers=500,
    durable_ms=200,
)


@dataclass(frozen=True)
class Setting:
    """One run: where files go, the database to use instead of SQLite, the sizes, and whether we take part."""

    folder: Path
    database: str | None
    sizes: Sizes
    peers_only: bool


def admission(setting: Setting) -> Section:
    few, many = setting.sizes.spans_few, setting.sizes.spans_many
    count = setting.sizes.admissions
    of_few, of_many = f"admission p99, {few:,} open spans", f"admission p99, {many:,} open spans"
    names = {
        spans: (
            name,
            f"admission median, {spans:,} open spans",
            f"admission p99, {spans:,} open spans, burst of {count:,}",
        )
        for name, spans in ((of_few, few), (of_many, many))
    }

    def measures(spans: int, sides: Sequence[Callable[[int], list[float]]]) -> Measure:
        name, middle, bursting = names[spans]
        one_by_one, burst = sides

        def take() -> dict[str, float]:
            taken = one_by_one(count)
            return {name: percentile(taken, 99), middle: percentile(taken, 50), bursting: percentile(burst(count), 99)}

        return Measure(dict.fromkeys(names[spans], MS), take)

    @contextmanager
    def our_side() -> Measures:
        with (
            ours.admissions(setting.folder, setting.database, few) as beside_few,
            ours.admissions(setting.folder, setting.database, many) as beside_many,
        ):
            yield [measures(few, beside_few), measures(many, beside_many)]

    goals = (
        Goal(of_few, ours=of_few, over=of_few, at_most=5),
        Goal(of_many, ours=of_many, over=of_many, at_most=5),
        Goal(f"admission p99, {many:,} / {few:,} spans", ours=of_many, over=of_many, under=of_few, at_most=1.5),
    )
    return Section("admission", goals, our_side)


def deadline(setting: Setting) -> Section:
    spans = setting.sizes.spans_many
    name = f"next deadline of {spans:,} spans after a change"
    wall, cpu = f"{name}: whole look, wall", f"{name}: whole look, CPU"

    @contextmanager
    def our_side() -> Measures:
        with ours.next_deadline(setting.folder, setting.database, spans) as looks:

            def take() -> dict[str, float]:
                taken = looks()
                return {name: taken.decision, wall: taken.wall, cpu: taken.cpu}

            yield [Measure({name: MS, wall: MS, cpu: MS}, take)]

    return Section("next deadline", (Goal(name, ours=name, over=name, at_most=1),), our_side)


def idle(setting: Setting) -> Section:
    spans = setting.sizes.idle_spans
    name = f"database writes in an idle hour, {spans:,} spans"

    @contextmanager
    def our_side() -> Measures:
        with ours.idle_hour_writes(setting.folder, setting.database, spans) as take:
            yield [measure(name, "", take)]

    return Section("idle hour", (Goal(name, ours=name, over=name, at_most=0),), our_side)


def durable_charge(setting: Setting) -> Section:
    seconds = setting.sizes.durable_ms / 1000
    limit, charges = "fdatasync of appended 4 KiB", "durable charges that settle a span"
    posted = "durable charges that are only posted"

    @contextmanager
    def disk() -> Measures:
        yield [measure(limit, PER_SECOND, lambda: limits.fdatasync_rate(setting.folder, seconds))]

    @contextmanager
    def our_side() -> Measures:
        with our_books.durable_charges(setting.folder, setting.database) as charge:
            yield [
                measure(charges, PER_SECOND, lambda: charge.settled(seconds)),
                measure(posted, PER_SECOND, lambda: charge.posted(seconds)),
            ]

    goal = Goal("durable charge / fdatasync", ours=charges, over=charges, under=limit, at_least=0.4)
    return Section("durable charge", (goal,), our_side, disk)


def settle(setting: Setting) -> Section:
    spans = setting.sizes.settled_spans
    inserts = f"raw insert of {spans:,} spans' transactions and entries"
    every = "the same with the updates of spans, balance and meter"
    settled = f"settle of {spans:,} spans"

    @contextmanager
    def driver() -> Measures:
        raw = limits.plain_settle(spans)
        yield [measure(inserts, SECONDS, lambda: limits.raw_settle_seconds(setting.folder, raw))]

    @contextmanager
    def our_side() -> Measures:
        with our_settling.settling(setting.folder, setting.database, spans) as ours_now:
            yield [
                measure(inserts, SECONDS, lambda: limits.raw_settle_seconds(setting.folder, ours_now.inserts)),
                measure(settled, SECONDS, ours_now.seconds),
                measure(every, SECONDS, lambda: limits.raw_settle_seconds(setting.folder, ours_now.all_rows)),
            ]

    # of two times for the same rows, so this is our rows per second / theirs
    goals = (
        Goal("settle, share of the raw insert's speed", ours=settled, over=inserts, under=settled, at_least=0.5),
        Goal("settle, share of the speed of all rows", ours=settled, over=every, under=settled, at_least=0.5),
    )
    return Section("settle", goals, our_side, driver if setting.peers_only else None)


def audit(setting: Setting) -> Section:
    entries = setting.sizes.audited_entries
    limit, audited = f"bare GROUP BY of {entries:,} entries", f"audit of {entries:,} entries"
    by_table = "the same without the order of an index"

    @contextmanager
    def plain_books() -> Measures:
        with limits.plain_entries(setting.folder, entries) as connection:
            yield [measure(limit, SECONDS, lambda: limits.query_seconds(connection, limits.GROUP_BY))]

    @contextmanager
    def own_books() -> Measures:
        with our_books.audited_books(setting.folder, setting.database, entries) as books:
            measures = [
                measure(limit, SECONDS, lambda: limits.query_seconds(books.connection, limits.GROUP_BY)),
                measure(audited, SECONDS, books.audit_seconds),
            ]
            if setting.database is None:  # SQLite's way to say it
                without = lambda: limits.query_seconds(books.connection, limits.GROUP_BY_TABLE)  # noqa: E731
                measures.append(measure(by_table, SECONDS, without))
            yield measures

    goal = Goal("audit / bare GROUP BY", ours=audited, over=audited, under=limit, at_most=3)
    # both read the same file, so the limit is a side of its own only when our books are left out
    return Section("audit", (goal,), own_books, plain_books if setting.peers_only else None)


def billing_loop(setting: Setting) -> Section:
    servers = setting.sizes.servers
    tick, wall = f"jupyterhub-credit-service, one tick, {servers:,} servers", "the same tick, wall"
    idle_tick = "a tick of it with no server due"
    interval, settled = f"our 60 s of billing, {servers:,} open spans", f"our settling of {servers:,} spans at once"
    passes, in_hub = "our 60 s of reconciliation (not billing)", "billing modules of ours in the hub"

    @contextmanager
    def peer_side() -> Measures:
        with running_peer(setting.folder, servers) as peer:

            def take() -> dict[str, float]:
                taken = peer.tick()
                return {tick: taken["cpu_seconds"], wall: taken["wall_seconds"]}

            yield [
                Measure({tick: CPU_SECONDS, wall: SECONDS}, take),
                measure(idle_tick, CPU_SECONDS, lambda: peer.tick(due=False)["cpu_seconds"]),
            ]

    @contextmanager
    def our_side() -> Measures:
        modules = ours.billing_modules_in_the_hub()  # which imports what cannot change between repeats
        with ours.open_billing(setting.folder, setting.database, servers) as billing:
            yield [
                measure(interval, CPU_SECONDS, billing.interval_cpu_seconds),
                measure(settled, CPU_SECONDS, billing.settle_cpu_seconds),
                measure(passes, CPU_SECONDS, billing.passes_cpu_seconds),
                measure(in_hub, "", lambda: modules),
            ]

    goals = (
        Goal("peer's tick / our 60 s", ours=interval, over=tick, under=interval, at_least=50),
        Goal("peer's idle tick / our 60 s", ours=interval, over=idle_tick, under=interval, at_least=50),
        Goal(in_hub, ours=in_hub, over=in_hub, at_most=0),
    )
    return Section("billing loop", goals, our_side, peer_side)


COMPARISONS = (admission, deadline, idle, durable_charge, settle, audit, billing_loop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show, and return the exit status."""
    options = parser("What the credits engine costs, beside physical limits and a peer.")
    options.add_argument("--folder", type=Path, default=Path(), help="where databases go; the disk that is measured")
    options.add_argument("--database", metavar="URL", help="measure our side on this database instead of SQLite")
    chosen = options.parse_args(arguments)
    sizes = QUICK if chosen.quick else FULL

    @contextmanager
    def setting() -> Iterator[Setting]:
        # a folder for each, so that none finds a disk full of the files of those before
        with tempfile.TemporaryDirectory(dir=chosen.folder, prefix=".credits-benchmark-") as folder:
            yield Setting(Path(folder), chosen.database, sizes, chosen.peers_only)

    return run("credits", asdict(sizes), COMPARISONS, setting, chosen)


if __name__ == "__main__":
    sys.exit(main())
