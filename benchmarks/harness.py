"""Side-by-side measurement: sides of one comparison take turns, and only what one run measured is compared.

A machine is never quiet, and a disk may be ten times slower a minute later.  So the sides of a comparison are
repeated alternately, each is summarized by its median, and a goal is a ratio of two medians of the same run
(or a fixed bound).  The spread, min..max, is shown beside every median.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import sqlite3
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

S = TypeVar("S")
REPEATS_MIN = 5
WARMUPS = 1


class NotMeasured(Exception):
    """A side cannot be measured here; the text says why and what to do about it."""


@dataclass(frozen=True)
class Measure:
    """One side of a comparison.

    ``units`` maps the names of its figures to their units; ``take`` measures once and returns one value for
    each of them.  ``take`` does its own timing, so that preparing a sample is not measured.
    """

    units: Mapping[str, str]
    take: Callable[[], Mapping[str, float]]


def measure(name: str, unit: str, take: Callable[[], float]) -> Measure:
    """A measure of a single figure."""
    return Measure({name: unit}, lambda: {name: take()})


@dataclass(frozen=True)
class Figure:
    """What all repeats of one figure gave, in ``unit``."""

    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        low, high = min(self.values), max(self.values)
        return {"unit": self.unit, "median": self.median, "min": low, "max": high, "values": list(self.values)}

    def as_text(self) -> str:
        return f"{shown(self.median, self.unit)}  ({shown(min(self.values))}..{shown(max(self.values))})"


@dataclass(frozen=True)
class Goal:
    """What must hold: the ratio ``over / under`` of two figures, or ``over`` alone when ``under`` is None.

    ``ours`` names which of the two is this project's; the other is the peer or the physical limit.
    """

    name: str
    ours: str
    over: str
    under: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def against(self) -> str | None:
        return self.under if self.ours == self.over else self.over

    def value(self, figures: Mapping[str, Figure]) -> float | None:
        """The ratio of medians, or the median itself; None when a side was not measured."""
        if self.over not in figures or (self.under is not None and self.under not in figures):
            return None
        over = figures[self.over].median
        if self.under is None:
            return over
        under = figures[self.under].median
        return over / under if under else math.inf

    def met(self, figures: Mapping[str, Figure]) -> bool | None:
        """Whether it holds; None when a side was not measured."""
        value = self.value(figures)
        if value is None:
            return None
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def as_text(self, unit: str = "") -> str:
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{sign} {shown(bound or 0, unit if self.under is None else '×')}"

    def as_json(self, figures: Mapping[str, Figure]) -> dict[str, Any]:
        value = self.value(figures)
        return {
            "name": self.name,
            "ours": self.ours,
            "against": self.against,
            "value": value if value is None or math.isfinite(value) else None,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "met": self.met(figures),
        }


Side = Callable[[], AbstractContextManager[Sequence[Measure]]]


@dataclass(frozen=True)
class Section:
    """One comparison: its sides, each opening what it needs and yielding its measures, and what must hold."""

    title: str
    goals: tuple[Goal, ...]
    ours: Side
    against: Side | None = None


def interleave(measures: Sequence[Measure], repeats: int, warmups: int = WARMUPS) -> dict[str, Figure]:
    """Take every measure ``repeats`` times in turn and return the figures by name.

    Every other round runs backwards, so that a machine that slows down slows all sides alike.  Warm-up rounds
    are thrown away.
    """
    units = {name: unit for each in measures for name, unit in each.units.items()}
    values: dict[str, list[float]] = {name: [] for name in units}
    for turn in range(warmups + repeats):
        for each in measures if turn % 2 == 0 else reversed(measures):
            gc.collect()
            sample = each.take()
            if turn >= warmups:
                for name in each.units:
                    values[name].append(sample[name])
    return {name: Figure(unit, tuple(values[name])) for name, unit in units.items()}


def run_section(section: Section, repeats: int, peers_only: bool) -> tuple[dict[str, Figure], tuple[str, ...]]:
    """The figures of one comparison, and for each side that could not be measured a sentence why."""
    sides = [side for side in (section.against, None if peers_only else section.ours) if side is not None]
    notes: list[str] = []
    with ExitStack() as stack:
        measures: list[Measure] = []
        for side in sides:
            try:
                measures.extend(stack.enter_context(side()))
            except NotMeasured as error:
                notes.append(f"{section.title}: {error or 'not written yet'}")
        return interleave(measures, repeats), tuple(notes)


@dataclass(frozen=True)
class Outcome:
    """Everything one run of a program gave."""

    program: str
    sizes: Mapping[str, float]
    figures: Mapping[str, Figure]
    goals: tuple[Goal, ...]
    notes: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether everything was measured and every goal holds."""
        return not self.notes and all(goal.met(self.figures) for goal in self.goals)

    def as_json(self) -> dict[str, Any]:
        return {
            "program": self.program,
            "met": self.met,
            "sizes": dict(self.sizes),
            "machine": machine(),
            "goals": [goal.as_json(self.figures) for goal in self.goals],
            "figures": {name: figure.as_json() for name, figure in self.figures.items()},
            "notes": list(self.notes),
        }

    def show(self, console: Console) -> None:
        """Print the table of figures, the table of goals, and what could not be measured."""
        figures = Table("figure", "median  (min..max)", title=f"{self.program}: measured")
        for name, figure in self.figures.items():
            figures.add_row(name, figure.as_text())
        console.print(figures)
        if self.goals:
            console.print(self._goal_table())
        for note in self.notes:
            console.print(f"Not measured. {note}", markup=False, highlight=False)

    def _goal_table(self) -> Table:
        table = Table("goal", "ours", "peer or limit", "must be", "is", "met", title=f"{self.program}: goals")
        words = {True: "[green]yes[/]", False: "[red]NO[/]", None: "[yellow]not measured[/]"}
        for goal in self.goals:
            ours, against = self.figures.get(goal.ours), self.figures.get(goal.against or "")
            value = goal.value(self.figures)
            unit = ours.unit if ours else ""
            table.add_row(
                goal.name,
                shown(ours.median, unit) if ours else "–",
                shown(against.median, against.unit) if against else "–",
                goal.as_text(unit),
                "–" if value is None else shown(value, unit if goal.under is None else "×"),
                words[goal.met(self.figures)],
            )
        return table


def shown(value: float, unit: str = "") -> str:
    """A number for people: three digits that matter, and its unit."""
    if value == 0 or not math.isfinite(value):
        number = str(value if value else 0)
    elif abs(value) >= 100:
        number = f"{value:,.0f}"
    else:
        number = f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return f"{number}{'' if unit == '×' else ' '}{unit}".rstrip()


def percentile(values: Iterable[float], percent: int) -> float:
    """The value that ``percent`` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def machine() -> dict[str, Any]:
    """What the figures depend on; nothing that names a person's computer."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": os.getloadavg()[0],
    }


def _repeats(text: str) -> int:
    if not text.isdigit() or int(text) < REPEATS_MIN:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least {REPEATS_MIN}")
    return int(text)


def parser(description: str) -> argparse.ArgumentParser:
    """The options every program here has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--quick", action="store_true", help="small sizes, at most 45 seconds")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write everything that was measured to FILE")
    options.add_argument("--repeats", type=_repeats, default=REPEATS_MIN, help=f"at least {REPEATS_MIN}, the default")
    options.add_argument("--peers-only", action="store_true", help="measure peers and physical limits, no goals")
    only = "only comparisons whose function is named like this"
    options.add_argument("--only", metavar="WORD", default="", help=only)
    return options


def run(
    program: str,
    sizes: Mapping[str, float],
    comparisons: Sequence[Callable[[S], Section]],
    setting: Callable[[], AbstractContextManager[S]],
    options: argparse.Namespace,
) -> int:
    """Measure one comparison after the other, each in a setting that it is given, and return the exit status."""
    figures: dict[str, Figure] = {}
    goals: list[Goal] = []
    notes: list[str] = []
    for comparison in (each for each in comparisons if options.only in each.__name__):
        with setting() as given:
            section = comparison(given)
            print(f"measuring: {section.title} …", file=sys.stderr, flush=True)
            found, why_not = run_section(section, options.repeats, options.peers_only)
        figures.update(found)
        notes.extend(why_not)
        goals.extend(() if options.peers_only else section.goals)
    return finish(Outcome(program, sizes, figures, tuple(goals), tuple(notes)), options)


def finish(outcome: Outcome, options: argparse.Namespace) -> int:
    """Show the outcome, write it, and return the exit status: 1 when a goal is missed or was not measured."""
    outcome.show(Console(width=None if sys.stdout.isatty() else 140))
    if options.json:
        options.json.write_text(json.dumps(outcome.as_json(), indent=2, ensure_ascii=False) + "\n")
    return 0 if outcome.met else 1
