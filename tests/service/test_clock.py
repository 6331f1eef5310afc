"""The service's clock counts elapsed time: a machine clock that is set moves no bill."""

from __future__ import annotations

import time

from jupyterhub_vessl.service.clock import Clock

YEAR_NS = 365 * 24 * 3600 * 10**9


def test_a_clock_that_is_set_moves_nothing(monkeypatch):
    clock = Clock()
    before = clock.now_ms()
    wall = time.time_ns
    for jump_ns in (YEAR_NS, -YEAR_NS, -1):
        monkeypatch.setattr(time, "time_ns", lambda jump_ns=jump_ns: wall() + jump_ns)
        assert 0 <= clock.now_ms() - before < 60_000


def test_after_a_restart_the_books_never_go_backwards_and_time_goes_on():
    ahead_ms = time.time_ns() // 1_000_000 + 3_600_000
    clock = Clock(not_before_ms=ahead_ms)
    assert clock.now_ms() >= ahead_ms
    time.sleep(0.01)
    assert clock.now_ms() > ahead_ms


def test_after_a_restart_the_wall_clock_counts_when_it_is_ahead_of_the_books():
    wall_ms = time.time_ns() // 1_000_000
    assert Clock(not_before_ms=wall_ms - 3_600_000).now_ms() >= wall_ms
