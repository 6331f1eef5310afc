"""How credits stand, in a word."""

import pytest

from jupyterhub_vessl.model.catalog import CreditPolicy
from jupyterhub_vessl.model.money import HOUR_MS, MICROS
from jupyterhub_vessl.model.standing import standing

NOW_MS = 1_800_000_000_000
POLICY = CreditPolicy.model_validate({"notify_at": [20, 5, 0], "notice_before": "24h"})


@pytest.mark.parametrize(
    ("balance", "rate", "hours_left", "said"),
    [
        (100, 1, 100, ("fine", "")),
        (100, 0, None, ("fine", "")),
        (100, 5, 20, ("low", "only 20 h left")),
        (100, 0, 20, ("fine", "")),  # nothing uses it up
        (20, 0, None, ("low", "running low")),
        (3, 1, 13, ("low", "only 13 h left")),
        (0, 0, None, ("low", "no credits left")),
        (-1, 1, 9, ("below", "below zero")),
        (-1, 0, None, ("below", "below zero")),
    ],
)
def test_the_word_changes_where_the_policy_begins_to_tell_people(balance, rate, hours_left, said):
    end_ms = None if hours_left is None else NOW_MS + hours_left * HOUR_MS
    assert standing(balance * MICROS, rate * MICROS, end_ms, POLICY, NOW_MS) == said


def test_an_end_that_is_past_is_soon():
    assert standing(MICROS, MICROS, NOW_MS - 5, POLICY, NOW_MS) == ("low", "only 1 min left")


def test_a_policy_without_thresholds_warns_by_time_alone():
    policy = CreditPolicy.model_validate({"notify_at": []})
    assert standing(1, 0, None, policy, NOW_MS) == ("fine", "")
