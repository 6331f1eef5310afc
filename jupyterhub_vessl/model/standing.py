"""How an organization's credits stand, in one word: what every page and JupyterLab show in the same way.  Pure."""

from __future__ import annotations

from typing import Literal

from .catalog import CreditPolicy
from .units import format_duration

Tone = Literal["fine", "low", "below"]


def standing(
    balance_micros: int, rate_micros_per_hour: int, end_ms: int | None, policy: CreditPolicy, now_ms: int
) -> tuple[Tone, str]:
    """(tone, the same in words); the words are empty while all is fine.

    ``low`` begins where the policy begins to tell people: at its highest threshold, and ``notice_before`` ahead of
    ``end_ms``, when the credits no longer carry what they carry now (None when that does not happen).  ``below`` is
    under zero.
    """
    if balance_micros < 0:
        return "below", "below zero"
    left_ms = None if end_ms is None else end_ms - now_ms
    if rate_micros_per_hour > 0 and left_ms is not None and left_ms < policy.notice_before_seconds * 1000:
        return "low", f"only {format_duration(max(60, left_ms // 1000))} left"
    if balance_micros == 0:
        return "low", "no credits left"
    if balance_micros <= max(policy.thresholds_micros, default=-1):
        return "low", "running low"
    return "fine", ""
