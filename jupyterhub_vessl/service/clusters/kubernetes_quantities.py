"""Kubernetes' way of writing amounts: ``16Gi``, ``250m``, ``1e3``, exactly."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_FACTORS = {"n": "1e-9", "u": "1e-6", "m": "1e-3", "": "1"}
_FACTORS |= {unit: f"1e{3 * power}" for power, unit in enumerate("kMGTPE", start=1)}
_FACTORS |= {f"{unit}i": str(1024**power) for power, unit in enumerate("KMGTPE", start=1)}
_QUANTITY = re.compile(r"([+-]?[0-9]{0,20}\.?[0-9]{0,20})(?:[eE]([+-]?[0-9]{1,2})|([numkMGTPE]|[KMGTPE]i)?)")


def amount(quantity: object) -> Decimal:
    """``"1.5Gi"`` → 1610612736; 0 for what is no quantity."""
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None or not any(character.isdigit() for character in match[1]):
        return Decimal(0)
    factor = Decimal(f"1e{match[2]}") if match[2] else Decimal(_FACTORS[match[3] or ""])
    return Decimal(match[1]) * factor


def size_bytes(quantity: object) -> int:
    """Bytes, rounded up as Kubernetes does."""
    return int(amount(quantity).to_integral_value(ROUND_CEILING))


def cpu_millis(quantity: object) -> int:
    """Thousandths of a core, rounded down: what is promised has to be there."""
    return int((amount(quantity) * 1000).to_integral_value(ROUND_FLOOR))
