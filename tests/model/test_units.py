"""Sizes, cores and durations, both ways."""

from decimal import Decimal

import pytest

from jupyterhub_vessl.model import units
from jupyterhub_vessl.model.text import bounded


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("4Gi", 4 << 30), ("1.5Gi", 3 << 29), ("500M", 500_000_000), ("2Ti", 2 << 40)]
)
def test_sizes_are_read(text, size_bytes):
    assert units.parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("value", ["4", "4gi", "-4Gi", "0Gi", 4, None, "4 Gi", "4Gi\n", "٤Gi"])
def test_a_size_without_a_unit_is_refused(value):
    with pytest.raises(ValueError, match="20Gi"):
        units.parse_size_bytes(value)


@pytest.mark.parametrize(("value", "millis"), [(2, 2000), (Decimal("0.5"), 500)])
def test_cores_are_read(value, millis):
    assert units.parse_cpu_millis(value) == millis


@pytest.mark.parametrize("value", [0, -1, True, "2", Decimal("0.0001"), Decimal("NaN")])
def test_what_is_not_a_number_of_cores_is_refused(value):
    with pytest.raises(ValueError, match="CPU cores"):
        units.parse_cpu_millis(value)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("24h", 86400), ("7d", 604800)])
def test_durations_are_read(text, seconds):
    assert units.parse_duration_seconds(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (45, "45 s"),
        (600, "10 min"),
        (12_000, "3 h 20 min"),
        (7200, "2 h"),
        (200_000, "2 days 7 h"),
        (10**7, "115 days"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert units.format_duration(seconds) == said


def test_sizes_and_cores_are_said_short():
    assert units.format_bytes(4 << 30) == "4 GiB"
    assert units.format_bytes(3 << 29) == "1.5 GiB"
    assert units.format_cpu(500) == "0.5 CPU"
    assert units.format_cpu(16000) == "16 CPU"


def test_logged_text_is_one_bounded_line():
    assert bounded("a\nb\x1b[0m" * 1000, 20).count("\n") == 0
    assert len(bounded("x" * 10**6)) == 201
