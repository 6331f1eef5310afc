"""Kubernetes' amounts: ``500m``, ``16Gi``, ``1e3``."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

PATTERN = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_FORM = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?[0-9]{1,3}))?")
_BINARY = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "k": Fraction(1000)}
_DECIMAL |= {letter: Fraction(1000**power) for power, letter in enumerate("MGTPE", start=2)}


@lru_cache(maxsize=4096)
def _parse_text(text: str) -> Fraction:
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"quantities must match the regular expression '{PATTERN}'")
    sign, digits, binary, decimal, exponent = match.groups()
    number = Fraction(digits.rstrip("."))
    if binary:
        number *= _BINARY[binary]
    elif decimal:
        number *= _DECIMAL[decimal]
    elif exponent:
        number *= Fraction(10) ** int(exponent)
    return -number if sign == "-" else number


def parse(value: Any) -> Fraction:
    """The exact amount.  Raises ValueError in the server's words."""
    return _parse_text(str(value))


def show(amount: Fraction) -> str:
    """An amount as the server would write it: whole numbers, binary units where they fit, else millis."""
    if amount.denominator != 1:
        return f"{-((-amount * 1000) // 1)}m"
    whole = int(amount)
    for unit, size in reversed(_BINARY.items()):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return str(whole)
