"""Ends that are learnt late: grants get back what they paid for time that was not used, and nothing more."""

import pytest

from jupyterhub_vessl.ledger.audit import audit, audit_usage
from jupyterhub_vessl.ledger.funding import SCHEDULED, Grant, credit_state, insert_grant, list_grants
from jupyterhub_vessl.ledger.history import balance_as_of
from jupyterhub_vessl.ledger.spans import close_spans, open_span, settle
from jupyterhub_vessl.model.funds import Applies

T0 = 1_800_000_000_000
DAY_MS = 86_400_000


def give(connection, at_ms, micros, number=1, expires_ms=None):
    grant = Grant(
        id=f"g{number}",
        number=number,
        organization="acme",
        title="",
        actor="ada",
        created_ms=at_ms,
        amount_micros=micros,
        priority=100,
        effective_ms=at_ms,
        expires_ms=expires_ms,
        applies=Applies(),
        state=SCHEDULED,
        ended_ms=None,
        drawn_units=0,
        booked_micros=0,
    )
    insert_grant(connection, grant, at_ms)


def start(connection, name, started_ms=T0, rate=3_600_000):
    open_span(
        connection,
        organization="acme",
        team="vision",
        person="mia",
        workspace_id=name,
        admission_id=name,
        kind="compute",
        rate_micros_per_hour=rate,
        started_ms=started_ms,
        item="cpu-small",
    )


def end(connection, name, at_ms, now_ms):
    close_spans(connection, name, "compute", at_ms=at_ms, now_ms=now_ms, actor="service", reason="lost")


def left(connection):
    return [grant.fund.left_micros for grant in list_grants(connection, "acme")]


def test_a_grant_gets_back_what_it_paid_since_it_began_and_not_what_others_used(connection):
    start(connection, "a")
    start(connection, "b")
    give(connection, T0 + 10, 1_000_000)
    end(connection, "a", T0 + 5, T0 + 20)
    assert left(connection) == [1_000_000 - 10]


def test_a_grant_that_was_used_up_meanwhile_stays_used_up_and_the_next_gets_back_its_own_part(connection):
    give(connection, T0, 10, number=1, expires_ms=T0 + DAY_MS)
    give(connection, T0, 1_000, number=2)
    start(connection, "a")
    end(connection, "a", T0 + 5, T0 + 30)  # the first paid until T0 + 10, the second since then
    assert left(connection) == [0, 1_000]
    assert credit_state(connection, "acme", "USD", T0 + 30).balance_micros(T0 + 30) == 1_000 + 10 - 5


@pytest.mark.parametrize("settled_first", [False, True])
def test_an_end_before_midnight_that_is_learnt_the_day_after_is_taken_out_of_the_day(connection, settled_first):
    midnight = T0 - T0 % DAY_MS + DAY_MS
    start(connection, "a", midnight - 10_000)
    if settled_first:
        settle(connection, "acme", midnight, midnight + 1_000)
    end(connection, "a", midnight - 5_000, midnight + 60_000)
    assert balance_as_of(connection, "acme", midnight + 60_000) == -5_000
    assert audit(connection).ok
    assert audit_usage(connection, midnight + 60_000) == ()
