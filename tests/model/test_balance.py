"""Balances over time: what the line promises, the terms keep."""

from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_vessl.model.balance import Balance, running_balance
from jupyterhub_vessl.model.money import HOUR_MS, MICROS, Accrual, cumulative_micros
from jupyterhub_vessl.model.usage import OpenUsage, day_start_ms, midnights, open_usage, reach_ms

T0 = 1_800_000_000_000
spans = st.lists(st.builds(Accrual, st.integers(0, 40_000 * MICROS), st.integers(T0 - 10**8, T0)), max_size=6)
bases, thresholds = st.integers(-20 * MICROS, 100 * MICROS), st.integers(-10 * MICROS, 5 * MICROS)


@given(bases, spans, thresholds)
def test_a_threshold_is_reached_at_the_first_millisecond_at_which_the_balance_is_there(base, accruals, threshold):
    balance = running_balance(base, accruals)
    at_ms = balance.reaches_ms(threshold, T0)
    if at_ms is None:
        assert balance.micros(T0) > threshold
        assert not any(a.rate_micros_per_hour for a in accruals)
        return
    assert balance.micros(at_ms) <= threshold
    if at_ms > T0:
        assert balance.micros(at_ms - 1) > threshold


@given(bases, spans, thresholds)
def test_without_its_terms_a_balance_warns_early_and_never_late(base, accruals, threshold):
    exact = running_balance(base, accruals)
    line = Balance(exact.base_micros, exact.usage)
    exact_ms, line_ms = exact.reaches_ms(threshold, T0), line.reaches_ms(threshold, T0)
    if exact_ms is not None:
        assert line_ms is not None
        assert line_ms <= exact_ms
        burnt = exact.micros(line_ms) - threshold
        assert line_ms == T0 or burnt <= len(accruals) + 2
    assert abs(line.micros(T0 + 999) - exact.micros(T0 + 999)) <= len(accruals) / 2 + 1


@given(spans, st.integers(0, 10**8))
def test_the_sum_of_spans_is_exact_before_rounding(accruals, elapsed_ms):
    usage = open_usage(accruals)
    at_ms = T0 + elapsed_ms
    assert usage.units(at_ms) == sum(a.rate_micros_per_hour * (at_ms - a.started_ms) for a in accruals)
    rounded = sum(cumulative_micros(a, at_ms) for a in accruals)
    assert abs(usage.units(at_ms) - rounded * HOUR_MS) * 2 <= len(accruals) * HOUR_MS


def test_a_dollar_a_second_from_two_to_minus_ten_takes_twelve_seconds():
    assert running_balance(2 * MICROS, [Accrual(3600 * MICROS, T0)]).reaches_ms(-10 * MICROS, T0) == T0 + 12_000


def test_nothing_open_never_reaches_anything():
    assert running_balance(1, []).reaches_ms(0, T0) is None
    assert running_balance(0, []).reaches_ms(0, T0) == T0


@given(st.integers(1, 10**12), st.integers(-(10**15), 10**15), st.integers(0, 10**18))
def test_a_sum_reaches_an_amount_at_the_first_millisecond(rate, origin, units):
    usage = OpenUsage(1, rate, origin - rate * T0)
    at_ms = reach_ms(usage, units, T0)
    assert usage.units(at_ms) >= units
    assert at_ms == T0 or usage.units(at_ms - 1) < units


def test_days_are_utc_days():
    noon = 1_800_014_400_000
    assert day_start_ms(noon) % 86_400_000 == 0
    assert list(midnights(noon, noon + 86_400_000)) == [day_start_ms(noon) + 86_400_000]
    assert list(midnights(day_start_ms(noon), day_start_ms(noon) + 86_400_000)) == []


@given(bases, spans, thresholds)
def test_what_a_line_is_sure_of_is_so(base, accruals, threshold):
    exact = running_balance(base, accruals)
    line = Balance(exact.base_micros, exact.usage)
    assert exact.is_sure(threshold, T0)
    if line.is_sure(threshold, T0):
        assert (line.micros(T0) <= threshold) == (exact.micros(T0) <= threshold)
