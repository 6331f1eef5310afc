"""What a program of the harness found, and the one table of all of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

START, END = "<!-- last run -->", "<!-- end of the last run -->"


@dataclass
class Finding:
    """One row: what was tried how often, and everything that went wrong, a sentence each."""

    what: str
    tried: str = ""
    figures: str = ""
    wrong: list[str] = field(default_factory=list)
    began_seconds: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.wrong

    def done(self) -> Finding:
        self.seconds = time.monotonic() - self.began_seconds
        return self

    @property
    def row(self) -> tuple[str, str, str, str, str]:
        verdict = "holds" if self.ok else f"BROKEN: {len(self.wrong)}"
        return self.what, self.tried, self.figures, f"{self.seconds:.0f} s", verdict


HEAD = ("proof", "tried", "found", "took", "verdict")


def as_text(findings: Iterable[Finding]) -> str:
    """The table for a terminal, and below it what is broken."""
    findings = list(findings)
    rows = [HEAD, *(finding.row for finding in findings)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    broken = [f"{finding.what}: {why}" for finding in findings for why in finding.wrong[:10]]
    return "\n".join([*lines, *broken])


def as_markdown(findings: Iterable[Finding]) -> str:
    """The table for the documentation."""
    rows = [HEAD, tuple("---" for _ in HEAD), *(finding.row for finding in findings)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def put_into(text: str, findings: Iterable[Finding], heading: str) -> str:
    """A page of the documentation with the table of this run instead of the last one's."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n\n{heading}\n\n{as_markdown(findings)}\n\n{END}{after}"
