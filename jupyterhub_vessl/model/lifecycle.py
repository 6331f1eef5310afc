"""The life of a workspace: its states, why its sessions end, and when it may start again.  Pure.

Billing states are the product's words (seed 000): `running` compute is billed, `paused` compute is off,
`terminated` gone.  The phases `pending` and `failed` around them cost nothing.
"""

from __future__ import annotations

from enum import Enum


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
    BUDGET = "budget"
    TERMINATED = "terminated"
    OUT_OF_MEMORY = "out_of_memory"
    EXITED = "exited"
    FAILED = "failed"
    LOST = "lost"


STARTABLE = frozenset({State.PAUSED, State.FAILED})


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
