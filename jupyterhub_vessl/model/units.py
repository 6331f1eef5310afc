"""Sizes, cores and durations as people write them, turned into integers once.

``4Gi`` → bytes, ``0.5`` cores → 500 thousandths, ``24h`` → seconds.  The same functions write them back.
"""

from __future__ import annotations

import re
from decimal import Decimal

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
_SIZES = {"Ki": KIB, "Mi": MIB, "Gi": GIB, "Ti": TIB, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(Ki|Mi|Gi|Ti|K|M|G|T)")
_DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size_bytes(value: object) -> int:
    """``"4Gi"`` → 4294967296; raises ValueError that says what is right."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size_bytes = int(Decimal(match[1]) * _SIZES[match[2]]) if match else 0
    if size_bytes <= 0:
        raise ValueError("write a size with its unit, such as 512Mi, 20Gi or 2Ti")
    return size_bytes


def parse_cpu_millis(value: object) -> int:
    """``2`` or ``0.5`` cores → thousandths of a core; raises ValueError that says what is right."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError("write a number of CPU cores, such as 2 or 0.5")
    millis = Decimal(value) * 1000
    if not millis.is_finite() or millis <= 0 or millis != millis.to_integral_value() or millis > 10**7:
        raise ValueError("write a positive number of CPU cores with at most three decimals, such as 2 or 0.5")
    return int(millis)


def parse_duration_seconds(value: object) -> int:
    """``"24h"`` → 86400; raises ValueError that says what is right."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a duration with its unit, such as 30s, 10m, 24h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def format_bytes(size_bytes: int) -> str:
    """Show a size in the largest binary unit that keeps it short: ``4 GiB``, ``1.5 TiB``."""
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size_bytes >= unit:
            amount = (Decimal(size_bytes) / unit).quantize(Decimal("0.1"))
            return f"{amount:f}".removesuffix(".0") + f" {name}"
    return f"{size_bytes} bytes"


def format_cpu(cpu_millis: int) -> str:
    """Show cores: ``2 CPU``, ``0.5 CPU``."""
    return f"{(Decimal(cpu_millis) / 1000).normalize():f} CPU"


def format_duration(seconds: int) -> str:
    """Show a duration as people say it, at most two units: ``3 h 20 min``, ``2 days 4 h``, ``45 s``."""
    if seconds < 60:
        return f"{max(0, seconds)} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        rest = minutes % 60
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    rest = hours % 24
    return f"{days} days {rest} h" if rest and days < 14 else f"{days} days"


def counted(number: int, word: str) -> str:
    """A number of things: ``1 workspace``, ``1,200 workspaces``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
