"""What every balance must be: the rules of credits once more, in exact fractions, sharing no code with the product.

Written from the documented rules.  It remembers everything, rounds each thing once, and looks at milliseconds one
by one where it matters, so it is slow and simple.  Amounts are micro-credits, instants UTC milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

HOUR_MS = 3_600_000


def half_even(amount: Fraction) -> int:
    """The nearest integer; of two that are as near, the even one."""
    whole, rest = divmod(amount.numerator, amount.denominator)
    twice = 2 * rest
    return whole + (twice > amount.denominator or (twice == amount.denominator and whole % 2 == 1))


@dataclass
class Use:
    """Something that costs a rate (micro-credits per hour) from an instant on, until it ends."""

    kind: str
    item: str
    gpu: bool
    rate: int
    from_ms: int
    to_ms: int | None = None
    tags: tuple[str, ...] = ()

    @property
    def group(self) -> tuple[str, str, bool]:
        return self.kind, self.item, self.gpu

    def exact(self, at_ms: int) -> Fraction:
        """What it has cost by an instant, before rounding."""
        until_ms = at_ms if self.to_ms is None else min(self.to_ms, at_ms)
        return Fraction(self.rate * max(0, until_ms - self.from_ms), HOUR_MS)


@dataclass
class Gift:
    """Promotional credits.  ``kind``, ``gpu`` and ``specs`` narrow what they pay for."""

    number: int
    amount: int
    priority: int
    from_ms: int
    expires_ms: int | None = None
    kind: str | None = None
    gpu: bool | None = None
    specs: tuple[str, ...] = ()
    state: str = "scheduled"
    begun: bool = False
    drawn: Fraction = Fraction(0)
    lost: int = 0
    """What expired or was taken back."""
    ended_ms: int | None = None

    @property
    def order(self) -> tuple[int, bool, int, int]:
        """Lowest priority number, then the earliest expiry (never is last), then the oldest."""
        return self.priority, self.expires_ms is None, self.expires_ms or 0, self.number

    @property
    def left(self) -> Fraction:
        return self.amount - self.drawn

    def pays_for(self, group: tuple[str, str, bool]) -> bool:
        kind, item, gpu = group
        if self.kind not in (None, kind):
            return False
        if kind != "compute":  # what names a GPU or specs means compute
            return self.gpu is None and not self.specs
        return self.gpu in (None, gpu) and (not self.specs or item in self.specs)


@dataclass
class Oracle:
    """The credits of one organization, told in the order in which things become known."""

    now_ms: int
    paid: int = 0
    uses: dict[str, Use] = field(default_factory=dict)
    gifts: dict[int, Gift] = field(default_factory=dict)
    _ended: int = 0

    # -- what happens, all of it at `now_ms` ------------------------------------

    def move_to(self, now_ms: int) -> None:
        """Time passes: gifts begin, pay, are used up and expire, each at its own instant."""
        if now_ms < self.now_ms:
            raise ValueError("what happened must be told in the order in which it became known")
        while True:
            self._begin_and_end()
            turns = [ms for g in self._open_gifts() for ms in (g.from_ms, g.expires_ms) if ms is not None]
            until_ms = min([now_ms, *(ms for ms in turns if ms > self.now_ms)])
            self._pay(until_ms)
            if until_ms >= now_ms:
                break
        self._begin_and_end()

    def start(self, name: str, use: Use) -> None:
        self.uses[name] = use

    def end(self, name: str, at_ms: int) -> None:
        """It ended at an instant that may be past: live gifts get back what they paid beyond, each piece of time for
        itself, from the one that paid in it."""
        use = self.uses.pop(name)
        use.to_ms = max(at_ms, use.from_ms)
        self._ended += half_even(use.exact(use.to_ms))
        paying = sorted((g for g in self.gifts.values() if g.begun and g.pays_for(use.group)), key=lambda g: g.order)
        turns = {ms for g in paying for ms in (g.from_ms, g.ended_ms) if ms is not None}
        cuts = sorted({use.to_ms, self.now_ms, *(ms for ms in turns if use.to_ms < ms < self.now_ms)})
        for from_ms, until_ms in pairwise(cuts):
            for gift in paying:
                if gift.from_ms <= from_ms and (gift.ended_ms is None or gift.ended_ms >= until_ms):
                    if gift.state == "live":
                        gift.drawn -= Fraction(use.rate * (until_ms - from_ms), HOUR_MS)
                    break

    def reprice(self, name: str, rate: int) -> None:
        """From now on it costs something else: it ends, and goes on as something new."""
        use = self.uses[name]
        self.end(name, self.now_ms)
        self.start(name, Use(use.kind, use.item, use.gpu, rate, self.now_ms, None, use.tags))

    def give(self, gift: Gift) -> None:
        self.gifts[gift.number] = gift
        self._begin_and_end()

    def void(self, number: int) -> None:
        gift = self.gifts[number]
        if gift.state == "live":
            gift.lost = gift.amount - half_even(gift.drawn)
        gift.state, gift.ended_ms = "voided", self.now_ms

    # -- what follows from it ----------------------------------------------------

    def live(self) -> list[Gift]:
        return [gift for gift in self.gifts.values() if gift.state == "live"]

    def charges(self) -> int:
        return self._ended + sum(half_even(use.exact(self.now_ms)) for use in self.uses.values())

    def total(self) -> int:
        """Everything that is left."""
        return self.paid - self.charges() + sum(g.amount - g.lost for g in self.gifts.values() if g.begun)

    def wallet(self) -> int:
        """The paid credits: what is left of them after what gifts have paid."""
        return self.paid - self.charges() + sum(half_even(g.drawn) for g in self.gifts.values())

    def left_of_gifts(self) -> dict[int, int]:
        return {g.number: g.amount - half_even(g.drawn) for g in self.live()}

    # -- gifts ---------------------------------------------------------------------

    def _open_gifts(self) -> Iterable[Gift]:
        return (g for g in self.gifts.values() if g.state in ("scheduled", "live"))

    def _begin_and_end(self) -> None:
        for gift in self._open_gifts():
            if gift.state == "live" and gift.left == 0:
                gift.state, gift.ended_ms = "used", self.now_ms
            elif gift.state == "live" and gift.expires_ms is not None and gift.expires_ms <= self.now_ms:
                gift.state, gift.ended_ms = "expired", self.now_ms
                gift.lost = gift.amount - half_even(gift.drawn)
            elif gift.state == "scheduled" and gift.from_ms <= self.now_ms:
                gift.state, gift.begun = "live", True

    def _pay(self, until_ms: int) -> None:
        needs: dict[tuple[str, str, bool], int] = {}
        for use in self.uses.values():
            needs[use.group] = needs.get(use.group, 0) + use.rate
        while self.now_ms < until_ms and any(g.left for g in self.live()):
            drawn = self._one_ms(needs)
            self.now_ms += 1
            self._use_up()
            if not drawn:
                break
            # the next milliseconds are like this one, for as long as every gift has as much again
            again = min(int(self.gifts[number].left // part) for number, part in drawn.items())
            again = min(again, until_ms - self.now_ms)
            for number, part in drawn.items():
                self.gifts[number].drawn += part * again
            self.now_ms += again
            self._use_up()
        self.now_ms = until_ms

    def _use_up(self) -> None:
        for gift in self.live():
            if gift.left == 0:
                gift.state, gift.ended_ms = "used", self.now_ms

    def _one_ms(self, needs: Mapping[tuple[str, str, bool], int]) -> dict[int, Fraction]:
        """One millisecond, class by class in the order of their names: what each gift pays."""
        ordered = sorted(self.live(), key=lambda g: g.order)
        paid: dict[int, Fraction] = {}
        for group in sorted(needs):
            needed = Fraction(needs[group], HOUR_MS)
            for gift in ordered:
                part = min(needed, gift.left) if gift.pays_for(group) else Fraction(0)
                if part > 0:
                    gift.drawn += part
                    needed -= part
                    paid[gift.number] = paid.get(gift.number, Fraction(0)) + part
        return paid
