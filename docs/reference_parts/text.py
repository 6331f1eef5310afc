"""Markdown from docstrings and rows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

_INTERNAL = re.compile(r"\s*\((?:DESIGN|seed) [^)]*\)")
"""References in docstrings to papers that readers of the reference do not have."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[re.sub(r"\s+", " ", cell).replace("|", "\\|").strip() for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [list(head), ["---"] * len(head), *cells]] + [""]


def prose(text: str | None) -> str:
    """A docstring as Markdown: reStructuredText's ``code`` becomes `code`, one line for each paragraph."""
    paragraphs = _INTERNAL.sub("", inspect.cleandoc(text or "")).split("\n\n")
    return "\n\n".join(re.sub(r"\s+", " ", p).replace("``", "`").strip() for p in paragraphs)


def sections(text: str | None) -> tuple[str, dict[str, dict[str, str]]]:
    """A numpy docstring: the prose before its sections, and each section's entries."""
    parts = re.split(r"\n*^(\w+)\n-{3,}\n", inspect.cleandoc(text or ""), flags=re.MULTILINE)
    sections = {}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        entries = re.findall(r"^(\w[\w, ]*)\n((?:^(?: {4}.*)?(?:\n|\Z))+)", body, flags=re.MULTILINE)
        sections[title] = {
            name: prose(inspect.cleandoc(words)) for names, words in entries for name in names.split(", ")
        }
    return prose(parts[0]), sections
