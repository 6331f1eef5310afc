"""Money is exact: parsing, accruing, and the instant at which a balance is reached."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_vessl.model.errors import BadInput
from jupyterhub_vessl.model.money import (
    HOUR_MS,
    MICROS,
    Accrual,
    charge_micros,
    cumulative_micros,
    divide_half_even,
    format_credits,
    format_rate,
    parse_credit_micros,
)

RATES = st.integers(0, 50_000 * MICROS)
INSTANTS = st.integers(0, 10**9)
T0 = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "micros"),
    [("20", 20_000_000), ("0.05", 50_000), (3, 3_000_000), ("-2.10", -2_100_000), (" 1.000001 ", 1_000_001)],
)
def test_an_amount_is_read_exactly(text, micros):
    assert parse_credit_micros(text) == micros


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "NaN",
        "Infinity",
        "-inf",
        "1e99",
        "0.0000001",
        "1,5",
        "10 EUR",
        True,
        1.5,
        None,
        [1],
        "9" * 41,
        "１２",
        "1e5",
        "0x10",
        "1_000",
        ".5",
        "5.",
    ],
)
def test_what_is_not_an_amount_is_refused_with_one_sentence(value):
    with pytest.raises(BadInput) as refusal:
        parse_credit_micros(value)
    assert refusal.value.message.endswith(".")
    assert "\n" not in refusal.value.message
    assert refusal.value.field == "amount"


@given(st.decimals(-1000, 1000, places=6))
def test_reading_inverts_writing(amount):
    micros = int(amount * MICROS)
    assert parse_credit_micros(str(Decimal(micros) / MICROS)) == micros


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_division_rounds_to_the_nearest_and_ties_to_even(numerator, denominator):
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(RATES, INSTANTS, st.lists(INSTANTS, max_size=20))
def test_how_often_one_settles_cannot_change_the_total(rate, end, cuts):
    accrual = Accrual(rate, T0)
    instants = sorted({T0, T0 + end, *(T0 + cut % (end + 1) for cut in cuts)})
    pieces = [charge_micros(accrual, a, b) for a, b in pairwise(instants)]
    assert sum(pieces) == cumulative_micros(accrual, T0 + end)
    assert cumulative_micros(accrual, T0 + end) == round(Fraction(rate * end, HOUR_MS))


def test_nothing_accrues_before_the_start():
    assert cumulative_micros(Accrual(10**9, T0), T0 - 5) == 0


@pytest.mark.parametrize(
    ("micros", "currency", "shown"),
    [
        (41_200_000, "USD", "$41.20"),
        (-2_100_000, "USD", "−$2.10"),
        (1_234_567_890_000, "EUR", "€1,234,567.89"),
        (-4_000, "USD", "$0.00"),
        (5_000_000, "CHF", "5.00 CHF"),
    ],
)
def test_money_is_shown_with_its_unit(micros, currency, shown):
    assert format_credits(micros, currency) == shown


def test_small_prices_keep_their_digits():
    assert format_rate(2_390_000) == "$2.39/h"
    assert format_rate(2_740) == "$0.0027/h"
