"""Time that passed on the clock alone is not billed; time that passed in the world is."""

import json

import pytest

from jupyterhub_vessl.service import sightings as module
from jupyterhub_vessl.service.openings import open_books
from jupyterhub_vessl.service.sightings import Gap, Sightings

HOUR_MS, YEAR_MS = 3_600_000, 365 * 86_400_000
T0 = 1_800_000_000_000


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine whose elapsed time and boot the test decides."""
    state = {"elapsed": 1_000_000, "boot": "boot-1"}
    boot = tmp_path / "boot_id"
    boot.write_text("boot-1")
    monkeypatch.setattr(module, "elapsed_ms", lambda: state["elapsed"])
    monkeypatch.setattr(module, "BOOT_ID", boot)
    return state | {"file": boot, "state": state}


@pytest.fixture
def sightings(tmp_path, machine):
    found = Sightings(tmp_path / "data")
    found.note(T0, all_alive=True)
    return found


@pytest.mark.parametrize("jump_ms", [HOUR_MS, 86_400_000, YEAR_MS])
def test_a_clock_that_was_set_forward_while_the_service_was_down_is_found_out(sightings, machine, jump_ms):
    machine["state"]["elapsed"] += 5000
    assert sightings.gap(T0 + 5000 + jump_ms) == Gap(T0 + 5000, T0 + 5000 + jump_ms)


@pytest.mark.parametrize("down_ms", [1000, HOUR_MS, 30 * 86_400_000])
def test_an_outage_on_the_same_boot_is_no_gap_however_long(sightings, machine, down_ms):
    machine["state"]["elapsed"] += down_ms
    assert sightings.gap(T0 + down_ms) is None
    assert sightings.gap(T0 + down_ms + 1000) is None


def test_after_a_reboot_a_week_is_believed_and_a_year_is_not(sightings, machine):
    machine["file"].write_text("boot-2")
    machine["state"]["elapsed"] = 100
    assert sightings.gap(T0 + 6 * 86_400_000) is None
    assert sightings.gap(T0 + YEAR_MS) == Gap(T0, T0 + YEAR_MS)


def test_a_clock_that_was_set_back_is_no_gap(sightings):
    assert sightings.gap(T0 - YEAR_MS) is None


@pytest.mark.parametrize("content", ["", "nonsense", "{}", json.dumps({"at_ms": "x"})])
def test_a_file_that_cannot_be_read_is_no_gap_and_no_failure(sightings, tmp_path, content):
    (tmp_path / "data" / "alive").write_text(content)
    assert sightings.gap(T0 + YEAR_MS) is None
    assert sightings.last().alive_ms == 0


def test_noting_that_not_all_are_alive_keeps_when_they_last_were(sightings):
    sightings.note(T0 + 60_000, all_alive=False)
    assert (sightings.last().at_ms, sightings.last().alive_ms) == (T0 + 60_000, T0)


async def test_a_gap_costs_nothing_and_what_runs_goes_on_to_be_billed(service, clock, offer):
    first, _ = await service.run(spec="cpu-small")
    clock.ms += HOUR_MS
    gap = Gap(clock.ms, clock.ms + YEAR_MS)
    clock.ms = gap.to_ms
    offer.storage.cluster.volumes.clear()
    offer.storage.object.volumes.clear()
    await service.parts.core.database.run(lambda c: open_books(c, offer, clock.ms, gap))
    assert await service.balance_micros() == 50_000_000 - 50_000
    clock.ms += HOUR_MS
    assert await service.balance_micros() == 50_000_000 - 100_000
    await service.ended(first)
    clock.ms += HOUR_MS
    assert await service.balance_micros() == 50_000_000 - 100_000
    _, events = await service.call("GET", "events", "mia")
    (told,) = [e["message"] for e in events["events"] if e["kind"] == "clock"]
    assert told == "The clock went on by 365 days while the service was down; nothing is charged for that time."
