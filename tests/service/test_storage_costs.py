"""What storage costs, whatever the workspaces do, and prices that change while it does."""

from fractions import Fraction

import pytest

from jupyterhub_vessl.ledger.spans import open_spans
from jupyterhub_vessl.model.catalog import Offer
from jupyterhub_vessl.service.openings import open_books

HOUR_MS = 3_600_000
GIB_MONTH = Fraction(1, 730)


def changed(offer: Offer, **paths) -> Offer:
    """The offer with other values; a path is keys joined by two underscores."""
    data = offer.model_copy(deep=True)
    for path, value in paths.items():
        *above, last = path.split("__")
        parts = [data]
        for key in above:
            parts.append(parts[-1][key] if isinstance(parts[-1], dict) else getattr(parts[-1], key))
        if isinstance(parts[-1], dict):
            parts[-1][last] = value
        else:
            object.__setattr__(parts[-1], last, value)
    return data


async def spans(service):
    found = await service.parts.core.database.run(open_spans)
    return {(s.item, s.team): s.rate_micros_per_hour for s in found}


async def open_with(service, clock, offer):
    await service.parts.core.database.run(lambda c: open_books(c, offer, clock.ms))


async def test_declared_volumes_are_billed_to_the_team_that_may_write_from_the_first_look_on(service, clock, offer):
    await open_with(service, clock, offer)
    await open_with(service, clock, offer)
    assert await spans(service) == {
        ("cluster/datasets", "vision"): round(100 * 200_000 * GIB_MONTH),
        ("cluster/recordings", "speech"): round(50 * 200_000 * GIB_MONTH),
        ("object/handbook", "vision"): 0,
    }
    before = await service.balance_micros()
    clock.ms += 730 * HOUR_MS
    month = round(100 * 200_000 * GIB_MONTH) * 730 + round(50 * 200_000 * GIB_MONTH) * 730
    assert await service.balance_micros() == before - month


async def test_a_volume_that_is_taken_out_of_the_offer_costs_nothing_from_then_on(service, clock, offer):
    await open_with(service, clock, offer)
    clock.ms += HOUR_MS
    without = changed(offer, storage__cluster__volumes={})
    await open_with(service, clock, without)
    at_end = await service.balance_micros()
    clock.ms += 1000 * HOUR_MS
    assert await service.balance_micros() == at_end


async def test_a_volume_that_grows_costs_more_from_then_on(service, clock, offer):
    await open_with(service, clock, offer)
    clock.ms += HOUR_MS
    await open_with(service, clock, changed(offer, storage__cluster__volumes__datasets__size_bytes=200 * 1024**3))
    assert (await spans(service))["cluster/datasets", "vision"] == round(200 * 200_000 * GIB_MONTH)


@pytest.mark.offer("workspace: {size: 20Gi,", "workspace: {size: 20Gi, price_per_gib_month: 0.10,")
async def test_a_paused_workspace_pays_for_its_home_until_it_is_terminated(service, clock, carrier, report_ends, offer):
    admission_id, workspace_id = await service.run(spec="cpu-small")
    rate = round(20 * 100_000 * GIB_MONTH)
    clock.ms += HOUR_MS
    await service.ended(admission_id)
    assert await service.balance_micros() == 50_000_000 - 50_000 - rate
    clock.ms += 9 * HOUR_MS
    assert await service.balance_micros() == 50_000_000 - 50_000 - 10 * rate
    await service.call("DELETE", f"workspaces/{workspace_id}", "mia")
    await carrier.carry()
    clock.ms += 100 * HOUR_MS
    assert await service.balance_micros() == 50_000_000 - 50_000 - 10 * rate


async def test_a_new_price_holds_from_the_next_start_on(service, clock, offer):
    await service.run(spec="cpu-small")
    clock.ms += HOUR_MS
    await open_with(service, clock, dearer(offer))
    assert (await spans(service))["cpu-small", "vision"] == 50_000


def dearer(offer, reprice="next-start"):
    data = offer.model_copy(deep=True)
    object.__setattr__(data.resource_specs["cpu-small"], "rate_micros_per_hour", 80_000)
    object.__setattr__(data.organizations["acme"].credits, "reprice", reprice)
    object.__setattr__(data.storage.cluster, "month_micros_per_gib", 0)
    return data


async def test_with_reprice_now_what_runs_is_split_at_that_instant(service, clock, offer):
    await service.run(spec="cpu-small")
    await open_with(service, clock, changed(offer, storage__cluster__volumes={}, storage__object__volumes={}))
    clock.ms += HOUR_MS
    split = dearer(changed(offer, storage__cluster__volumes={}, storage__object__volumes={}), "now")
    await open_with(service, clock, split)
    clock.ms += HOUR_MS
    assert await service.balance_micros() == 50_000_000 - 50_000 - 80_000
    _, events = await service.call("GET", "events", "mia")
    (told,) = [e["message"] for e in events["events"] if e["kind"] == "repriced"]
    assert told == "The price of cpu-small changed from $0.05/h to $0.08/h, also for what runs."
    # and an end reaches the span that is open now
    records = await service.parts.core.database.run(open_spans)
    await service.ended(records[0].admission_id)
    clock.ms += HOUR_MS
    assert await service.balance_micros() == 50_000_000 - 50_000 - 80_000
