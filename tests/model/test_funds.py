"""Grants: who pays for what, millisecond by millisecond, whatever the number of looks."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_vessl.model.balance import Balance
from jupyterhub_vessl.model.credit import CreditState, start_refusal
from jupyterhub_vessl.model.forecast import forecast
from jupyterhub_vessl.model.funds import Applies, Claim, Fund, burn_order, draw, overpaid_units, payers, used_up_ms
from jupyterhub_vessl.model.money import HOUR_MS, MICROS
from jupyterhub_vessl.model.usage import OpenUsage, UsageClass

T0 = 1_800_000_000_000
GPU = UsageClass("compute", "h100-1", True)
CPU = UsageClass("compute", "cpu-small", False)
DISK = UsageClass("storage", "cluster/datasets", False)
FOR_GPUS = Applies(gpu=True)


def fund(number, micros, priority=100, expires_ms=None, applies=None):
    return Fund(f"g{number}", number, priority, expires_ms, applies or Applies(), micros)


def step_by_step(rates, funds, milliseconds):
    """The definition, taken literally."""
    left = {f.id: f.left_units for f in funds}
    for _ in range(milliseconds):
        for usage in sorted(rates):
            needed = rates[usage]
            for f in sorted(funds, key=lambda f: (f.priority, f.expires_ms or 10**18, f.number)):
                if f.applies.covers(usage):
                    taken = min(needed, left[f.id])
                    left[f.id], needed = left[f.id] - taken, needed - taken
    return left


kinds = st.sampled_from(
    [Applies(), FOR_GPUS, Applies(kind="storage"), Applies(specs=("cpu-small",)), Applies(gpu=False)]
)
funds_drawn = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), kinds, st.sampled_from([None, T0 + 1000])))
rates_drawn = st.fixed_dictionaries({u: st.integers(0, 7 * HOUR_MS) for u in (GPU, CPU, DISK)})


@given(rates_drawn, funds_drawn, st.integers(0, 40), st.integers(0, 40))
def test_what_is_drawn_is_what_each_millisecond_draws_however_often_one_looks(rates, drawn, first_ms, second_ms):
    funds = [fund(n, micros, priority, expires, a) for n, (micros, priority, a, expires) in enumerate(drawn)]
    at_once = draw(rates, funds, T0, T0 + first_ms + second_ms)
    in_two = draw(rates, draw(rates, funds, T0, T0 + first_ms), T0 + first_ms, T0 + first_ms + second_ms)
    assert at_once == in_two
    assert {f.id: f.left_units for f in at_once} == step_by_step(rates, funds, first_ms + second_ms)


def test_the_burn_order_is_priority_then_expiry_then_age():
    funds = [fund(1, 1), fund(2, 1, expires_ms=T0 + 9), fund(3, 1, expires_ms=T0 + 5), fund(4, 1, 50), fund(5, 1)]
    assert [f.number for f in burn_order(funds)] == [4, 3, 2, 1, 5]


def test_a_grant_for_gpus_pays_for_gpus_alone():
    paying = payers({GPU: 1, CPU: 1, DISK: 1}, [fund(1, 5, applies=FOR_GPUS)])
    assert paying[GPU].number == 1
    assert (paying[CPU], paying[DISK]) == (None, None)


def test_a_grant_without_conditions_pays_for_storage_too():
    assert all(payers({GPU: 1, CPU: 1, DISK: 1}, [fund(1, 5)]).values())


@given(rates_drawn, st.integers(1, 60))
def test_the_instant_at_which_a_grant_is_used_up_is_exact(rates, micros):
    one = fund(1, micros)
    at_ms = used_up_ms(rates, [one], T0)
    if at_ms is None:
        assert not any(rates.values())
        return
    assert draw(rates, [one], T0, at_ms)[0].left_units == 0
    assert draw(rates, [one], T0, at_ms - 1)[0].left_units > 0


def state(wallet, *funds, rates=None, workspaces=1):
    burning = sum((rates or {}).values())
    line = OpenUsage(1, burning, -burning * T0)
    total = Balance(wallet + sum(f.amount_micros for f in funds), line, ())
    paid = {u: f.id for u, f in payers(rates or {}, funds).items() if f}
    return CreditState("USD", total, Balance(wallet, line, ()), funds, paid, T0, None, rates or {}, (), workspaces)


def test_a_start_needs_more_than_zero():
    assert start_refusal(state(1), CPU, 0, 0, "Acme", "ada", T0) is None
    message, hint = start_refusal(state(0), CPU, 0, 0, "Acme Research", "ada@acme.example", T0)
    assert message == "Not started: Acme Research has $0.00 credits left and new workspaces need more than $0."
    assert hint == "Ask ada@acme.example to top up."
    assert "−$2.10" in start_refusal(state(-2_100_000), CPU, 0, 0, "Acme", "ada", T0)[0]


def test_a_grant_for_gpus_starts_a_gpu_although_the_wallet_is_empty():
    broke = state(-MICROS, fund(1, 5 * MICROS, applies=FOR_GPUS))
    assert start_refusal(broke, GPU, 0, 0, "Acme", "ada", T0) is None
    assert "−$1.00" in start_refusal(broke, CPU, 0, 0, "Acme", "ada", T0)[0]


def test_what_other_starts_have_reserved_is_not_free():
    message, _ = start_refusal(state(5 * MICROS), CPU, 2 * MICROS, 4 * MICROS, "Acme", "ada", T0)
    assert "$1.00 credits free ($4.00 is reserved by other starts)" in message
    assert "needs $2.00 to begin" in message
    assert start_refusal(state(6 * MICROS), CPU, 2 * MICROS, 4 * MICROS, "Acme", "ada", T0) is None


def test_a_forecast_walks_through_the_ends_of_grants():
    hour = {GPU: MICROS}
    ahead = forecast(state(2 * MICROS, fund(1, 3 * MICROS), rates=hour), 10 * MICROS, T0)
    assert ahead.empty_ms == T0 + 5 * HOUR_MS
    assert ahead.pause_ms == T0 + 15 * HOUR_MS


def test_a_forecast_knows_that_what_expires_is_lost():
    expiring = fund(1, 3 * MICROS, expires_ms=T0 + HOUR_MS)
    ahead = forecast(state(2 * MICROS, expiring, rates={GPU: MICROS}), 10 * MICROS, T0)
    assert ahead.empty_ms == T0 + 3 * HOUR_MS
    assert (T0 + HOUR_MS, 4 * MICROS) in ahead.points
    assert (T0 + HOUR_MS, 2 * MICROS) in ahead.points


def test_a_forecast_counts_a_grant_that_begins_later():
    later = replace(state(MICROS, rates={GPU: MICROS}), scheduled=((T0 + HOUR_MS // 2, fund(1, MICROS)),))
    assert forecast(later, 0, T0).empty_ms == T0 + 2 * HOUR_MS


def claim(number, micros, from_ms=T0, ended_ms=None, **more):
    return Claim(fund(number, micros, **more), from_ms, ended_ms)


def test_a_late_end_gives_back_to_who_paid_in_each_piece_of_the_time_since():
    first, second = claim(1, MICROS, T0, T0 + 10), claim(2, MICROS, T0 + 5)
    assert overpaid_units([first, second], CPU, 100, T0, T0 + 30) == {"g2": 2_000}
    assert overpaid_units([claim(1, MICROS, T0 + 10)], CPU, 100, T0 + 5, T0 + 20) == {"g1": 1_000}
    assert overpaid_units([claim(1, MICROS, applies=FOR_GPUS)], CPU, 100, T0, T0 + 20) == {}
    assert overpaid_units([claim(1, MICROS), claim(2, MICROS, T0 + 8, priority=1)], CPU, 10, T0, T0 + 20) == {
        "g1": 80,
        "g2": 120,
    }


def test_nothing_is_given_back_for_an_end_that_is_learnt_at_once():
    assert overpaid_units([claim(1, MICROS)], CPU, 100, T0, T0) == {}
