"""An organization's credits as a function of time, and who may start on them.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .balance import Balance, Term
from .funds import Fund
from .money import format_credits
from .usage import UsageClass


def drawn_term(fund: Fund, rate_micros_per_hour: int, funded_ms: int) -> Term:
    """What a grant pays back to the wallet, as a function of time from ``funded_ms`` on."""
    return Term(rate_micros_per_hour, fund.drawn_units - rate_micros_per_hour * funded_ms)


@dataclass(frozen=True)
class CreditState:
    """One organization's credits from now on, as long as nothing changes.

    Attributes
    ----------
    total
        The wallet and all live grants together: what people see as the balance.
    wallet
        The paid credits, which may go below zero.
    funds
        Live grants in burn order, as of ``funded_ms``.
    paid_by
        The id of the grant that pays for a class of usage now; classes that the wallet pays for are left out.
    next_event_ms
        When a grant is used up, expires or begins: until then both balances are straight lines.
    rates, scheduled
        What each class of usage burns per hour, and grants that begin later, as (instant, fund); empty when
        there are no grants.
    workspaces
        How many are pending or running.
    """

    currency: str
    total: Balance
    wallet: Balance
    funds: tuple[Fund, ...] = ()
    paid_by: Mapping[UsageClass, str] = field(default_factory=dict)
    funded_ms: int = 0
    next_event_ms: int | None = None
    rates: Mapping[UsageClass, int] = field(default_factory=dict)
    scheduled: tuple[tuple[int, Fund], ...] = ()
    workspaces: int = 0

    @property
    def rate_micros_per_hour(self) -> int:
        """What the organization burns per hour now."""
        return self.total.usage.rate_micros_per_hour

    def balance_micros(self, at_ms: int) -> int:
        """The balance at an instant: everything that is left."""
        return self.total.micros(at_ms)

    def available_micros(self, usage: UsageClass, at_ms: int) -> int:
        """What a class of usage could spend: the wallet and the grants that apply to it."""
        return self.wallet.micros(at_ms) + sum(f.left_micros for f in self.funds if f.applies.covers(usage))

    def on_wallet(self, usage: UsageClass) -> bool:
        """Whether the wallet pays for this usage now."""
        return usage not in self.paid_by


def top_up_hint(contact: str) -> str:
    """What to do when credits are missing."""
    return f"Ask {contact} to top up."


def no_credits(available_micros: int, currency: str, title: str, contact: str) -> tuple[str, str] | None:
    """(message, hint) when nothing is left to start on, else None.  Refused at or below zero."""
    if available_micros > 0:
        return None
    left, zero = format_credits(available_micros, currency), format_credits(0, currency, decimals=0)
    return (
        f"Not started: {title} has {left} credits left and new workspaces need more than {zero}.",
        top_up_hint(contact),
    )


def start_refusal(
    state: CreditState, usage: UsageClass, reserve_micros: int, held_micros: int, title: str, contact: str, now_ms: int
) -> tuple[str, str] | None:
    """(message, hint) when a start is refused for want of credits, else None.

    Refused at or below zero, and when what is left after other starts' holds is less than ``reserve_micros``,
    the price of the first moments.
    """
    available = state.available_micros(usage, now_ms)
    none_left = no_credits(available, state.currency, title, contact)
    if none_left is not None:
        return none_left
    free = available - held_micros
    if free >= reserve_micros:
        return None
    left, needed = format_credits(max(free, 0), state.currency), format_credits(reserve_micros, state.currency)
    held = f" ({format_credits(held_micros, state.currency)} is reserved by other starts)" if held_micros else ""
    message = f"Not started: {title} has {left} credits free{held} and this workspace needs {needed} to begin."
    return message, top_up_hint(contact)
