"""The life of a workspace, and what happens to running ones when credits run out.  Pure decisions with reasons.

Billing states are the product's words (seed 000): `running` compute is billed, `paused` compute is off,
`terminated` gone.  The phases `pending` and `failed` around them cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .catalog import CreditPolicy
from .money import Accrual, balance_micros, burn_rate_micros_per_hour, crossing_ms, format_credits


class State(str, Enum):
    """Where a workspace is."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    TERMINATED = "terminated"


class EndReason(str, Enum):
    """Why a session ended, as the spawner, the service or reconciliation reports it."""

    USER = "user"
    CREDITS = "credits"
    TERMINATED = "terminated"
    OUT_OF_MEMORY = "out_of_memory"
    EXITED = "exited"
    FAILED = "failed"
    LOST = "lost"


STARTABLE = frozenset({State.PAUSED, State.FAILED})


@dataclass(frozen=True)
class RunningWorkspace:
    """A workspace whose compute span is open."""

    workspace_id: str
    rate_micros_per_hour: int


@dataclass(frozen=True)
class CreditSnapshot:
    """One organization's money at an instant.

    ``base_micros`` and ``accruals`` are what `money.balance_micros` takes.
    """

    currency: str
    base_micros: int
    accruals: tuple[Accrual, ...]
    running: tuple[RunningWorkspace, ...]

    def balance_micros(self, at_ms: int) -> int:
        """The balance at an instant."""
        return balance_micros(self.base_micros, self.accruals, at_ms)

    @property
    def rate_micros_per_hour(self) -> int:
        """What the organization burns per hour now."""
        return burn_rate_micros_per_hour(self.accruals)


@dataclass(frozen=True)
class PauseAction:
    """Pause one workspace; ``message`` completes "Paused at 14:20: …"."""

    workspace_id: str
    reason: EndReason
    message: str


def start_refusal(snapshot: CreditSnapshot, title: str, contact: str, now_ms: int) -> tuple[str, str] | None:
    """(message, hint) when a start is refused for want of credits, else None.  Refused at or below zero."""
    balance = snapshot.balance_micros(now_ms)
    if balance > 0:
        return None
    left = format_credits(balance, snapshot.currency)
    zero = format_credits(0, snapshot.currency, decimals=0)
    return (
        f"Not started: {title} has {left} credits left and new workspaces need more than {zero}.",
        f"Ask {contact} to top up.",
    )


UNPAID_START_MS = 15_000
"""A start that ends sooner than this without becoming ready has used nothing worth counting."""

UNPAID_STARTS_MAX = 3
BACK_OFF_MS, BACK_OFF_MS_MAX = 5 * 60_000, 60 * 60_000


def next_start_ms(unpaid_starts: int, latest_end_ms: int) -> int:
    """The earliest instant of a person's next start, after so many in a row that never became ready.

    What never becomes ready costs nothing, so without a pause between such starts anybody could compute for
    free by keeping a server from answering.  The third waits 5 minutes, each further one twice as long, up to
    an hour.
    """
    if unpaid_starts < UNPAID_STARTS_MAX:
        return 0
    doublings = min(unpaid_starts - UNPAID_STARTS_MAX, 10)
    return latest_end_ms + min(BACK_OFF_MS << doublings, BACK_OFF_MS_MAX)


def empty_ms(snapshot: CreditSnapshot, now_ms: int) -> int | None:
    """The instant at which the balance reaches zero, None when it never does at the present rates."""
    return crossing_ms(snapshot.base_micros, snapshot.accruals, 0, now_ms)


def exhaustion_deadline_ms(snapshot: CreditSnapshot, policy: CreditPolicy, now_ms: int) -> int | None:
    """The instant at which running workspaces are paused, None when nothing runs or it is never reached."""
    if not snapshot.running:
        return None
    return crossing_ms(snapshot.base_micros, snapshot.accruals, -policy.buffer_micros, now_ms)


def exhaustion_actions(snapshot: CreditSnapshot, policy: CreditPolicy, now_ms: int) -> tuple[PauseAction, ...]:
    """What to do about an organization's credits at an instant: pause everything that runs, or nothing.

    The preset ``buffer`` in its simple form: running workspaces go on until −buffer (seed 000, "credit buffer").
    """
    deadline = exhaustion_deadline_ms(snapshot, policy, now_ms)
    if deadline is None or deadline > now_ms:
        return ()
    floor = format_credits(-policy.buffer_micros, snapshot.currency)
    message = f"credits reached {floor}"
    return tuple(PauseAction(w.workspace_id, EndReason.CREDITS, message) for w in snapshot.running)
