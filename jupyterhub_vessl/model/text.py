"""The one rule for text that a person types: plain, bounded, and harmless wherever it is later shown.

DESIGN §4 and §7: user text never reaches a shell, a template engine, ``str.format`` or HTML unescaped.
Renderers quote; this is the second wall: what only makes sense as an attack on one of those is refused at
the edge, with a sentence that says what is right.
"""

from __future__ import annotations

import re
import unicodedata

NAME_PATTERN = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""Names of things in the offer, and of ports: as in DNS labels, so that every backend takes them."""

_NAME = re.compile(NAME_PATTERN)
_FORBIDDEN = ("{", "}", "$(", "`")


def check_plain_text(value: str, *, characters_max: int) -> str:
    """Return ``value`` stripped, or raise ValueError with one sentence saying what is right.

    Refused: more than ``characters_max`` characters, control characters (newline and NUL among them),
    format and bidirectional-override characters, braces, ``$(`` and backticks.
    """
    if len(value) > characters_max:
        raise ValueError(f"use at most {characters_max} characters")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in value):
        raise ValueError("use one line of plain text, without control characters")
    if any(mark in value for mark in _FORBIDDEN):
        raise ValueError("use plain text without { } $( or `")
    return value.strip()


def check_name(value: str) -> str:
    """Return ``value`` if it is a name (lower-case letters, digits, hyphens; 1–63), else raise ValueError."""
    if not _NAME.fullmatch(value):
        raise ValueError("use 1 to 63 lower-case letters, digits and hyphens, such as my-name")
    return value


def bounded(value: object, characters_max: int = 200) -> str:
    """``value`` as one printable line of bounded length, for logs: hostile text cannot flood or forge them."""
    text = str(value)[: characters_max + 1]
    clean = "".join(c if c.isprintable() else "�" for c in text)
    return clean if len(clean) <= characters_max else clean[:characters_max] + "…"
