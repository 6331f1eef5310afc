"""When credits run out if everything goes on as now.  Pure; for people, not for decisions.

Without grants a balance is a straight line.  With grants it bends where one is used up, expires or begins;
these instants are walked through in order.
"""

from __future__ import annotations

from dataclasses import dataclass

from .credit import CreditState
from .funds import Fund, draw, payers, rates_by_fund, used_up_ms
from .money import DAY_MS, HOUR_MS
from .usage import COMPUTE

STEPS_MAX = 500
HORIZON_MS = 3_650 * DAY_MS


@dataclass(frozen=True)
class Forecast:
    """The balance to come.

    ``points`` are (instant, balance in micro-credits): it is straight between two of them, and two at the same
    instant are a jump.  ``empty_ms`` is when it reaches zero, ``pause_ms`` when running workspaces are paused;
    None when that does not happen within ten years.
    """

    points: tuple[tuple[int, int], ...]
    empty_ms: int | None
    pause_ms: int | None


def forecast(state: CreditState, floor_micros: int, now_ms: int) -> Forecast:
    """What becomes of a balance from now on; ``floor_micros`` is how far below zero the wallet may go."""
    if not state.funds and not state.scheduled:
        return _straight(state, floor_micros, now_ms)
    return _Walk(state, floor_micros, now_ms).walk()


def _straight(state: CreditState, floor_micros: int, now_ms: int) -> Forecast:
    empty_ms = state.total.reaches_ms(0, now_ms)
    floor_ms = state.wallet.reaches_ms(-floor_micros, now_ms)
    points = [(now_ms, state.total.micros(now_ms))]
    if floor_ms is not None and floor_ms > now_ms:
        points.append((floor_ms, -floor_micros))
    return Forecast(tuple(points), empty_ms, floor_ms if state.workspaces else None)


class _Walk:
    """One walk along the events of grants."""

    def __init__(self, state: CreditState, floor_micros: int, now_ms: int) -> None:
        self._rates = dict(state.rates)
        self._burn = sum(self._rates.values())
        self._floor_units = floor_micros * HOUR_MS
        self._at_ms = now_ms
        self._wallet_units = state.wallet.micros(now_ms) * HOUR_MS
        self._funds: tuple[Fund, ...] = draw(self._rates, state.funds, state.funded_ms, now_ms)
        self._scheduled = sorted(state.scheduled, key=lambda item: item[0])
        self._points: list[tuple[int, int]] = []
        self._empty_ms: int | None = None
        self._pause_ms: int | None = None

    def walk(self) -> Forecast:
        """From event to event until everything is known."""
        end_ms = self._at_ms + HORIZON_MS
        for _ in range(STEPS_MAX):
            self._drop_and_add()
            self._points.append((self._at_ms, self._total_units() // HOUR_MS))
            until_ms = min([end_ms, *self._events()])
            self._cross(until_ms)
            if self._empty_ms is not None and self._pause_ms is not None:
                until_ms = min(until_ms, max(self._pause_ms, self._at_ms))
                self._move(until_ms)
                self._points.append((self._at_ms, self._total_units() // HOUR_MS))
                break
            if until_ms >= end_ms:
                # nothing more happens; the last stretch is shown down to zero, or not at all
                if self._empty_ms is not None and self._empty_ms > self._at_ms:
                    self._move(self._empty_ms)
                    self._points.append((self._at_ms, self._total_units() // HOUR_MS))
                break
            self._move(until_ms)
            self._points.append((self._at_ms, self._total_units() // HOUR_MS))
        return Forecast(tuple(dict.fromkeys(self._points)), self._empty_ms, self._pause_ms)

    def _total_units(self) -> int:
        return self._wallet_units + sum(fund.left_units for fund in self._funds)

    def _drop_and_add(self) -> None:
        kept = [f for f in self._funds if f.left_units > 0 and (f.expires_ms is None or f.expires_ms > self._at_ms)]
        kept += [fund for begin_ms, fund in self._scheduled if begin_ms <= self._at_ms]
        self._scheduled = [item for item in self._scheduled if item[0] > self._at_ms]
        self._funds = tuple(kept)

    def _events(self) -> list[int]:
        found = [f.expires_ms for f in self._funds if f.expires_ms is not None]
        found += [begin_ms for begin_ms, _ in self._scheduled]
        used_up = used_up_ms(self._rates, self._funds, self._at_ms)
        return [at for at in (*found, *([used_up] if used_up is not None else [])) if at > self._at_ms]

    def _cross(self, until_ms: int) -> None:
        paid = sum(rates_by_fund(self._rates, self._funds).values())
        wallet_rate = self._burn - paid
        if self._empty_ms is None:
            self._empty_ms = self._reach(self._total_units(), self._burn, until_ms)
        who_pays = payers(self._rates, self._funds)
        on_wallet = any(usage.kind == COMPUTE and fund is None for usage, fund in who_pays.items())
        if self._pause_ms is None and on_wallet:
            self._pause_ms = self._reach(self._wallet_units + self._floor_units, wallet_rate, until_ms)

    def _reach(self, units: int, rate: int, until_ms: int) -> int | None:
        if units <= 0:
            return self._at_ms
        if rate <= 0:
            return None
        at_ms = self._at_ms - (-units // rate)
        return at_ms if at_ms <= until_ms else None

    def _move(self, until_ms: int) -> None:
        before = sum(fund.left_units for fund in self._funds)
        self._funds = draw(self._rates, self._funds, self._at_ms, until_ms)
        paid = before - sum(fund.left_units for fund in self._funds)
        self._wallet_units -= self._burn * (until_ms - self._at_ms) - paid
        self._at_ms = until_ms
