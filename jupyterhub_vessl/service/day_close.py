"""The close of a day: what open spans have accrued by midnight (UTC) is booked, and what grants have paid for.

It changes no balance.  It is done in short transactions, so that a large organization holds nobody up, and a
crash in between leaves the rest to the next look.
"""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa

from ..ledger.funding import advance, book_draws
from ..ledger.meters import close_days, organizations_with_meters
from ..ledger.spans import settle
from ..model.usage import day_start_ms
from .core import Core

SPANS_AT_ONCE = 2_000


async def close_of_day(core: Core) -> None:
    """Book everything up to the last midnight; does nothing when that was done."""
    now_ms = core.clock.now_ms()
    midnight_ms = day_start_ms(now_ms)
    run = core.database.run
    await run(lambda c: close_days(c, now_ms))
    for organization in await run(organizations_with_meters):
        while await run(partial(_settle_some, organization=organization, midnight_ms=midnight_ms, now_ms=now_ms)):
            pass


def _settle_some(connection: sa.Connection, organization: str, midnight_ms: int, now_ms: int) -> bool:
    """Book some spans, and with the last ones the grants; False when nothing is left to do."""
    if settle(connection, organization, midnight_ms, now_ms, SPANS_AT_ONCE) == SPANS_AT_ONCE:
        return True
    advance(connection, organization, now_ms)
    book_draws(connection, organization, now_ms, now_ms)
    return False
