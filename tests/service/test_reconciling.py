"""Truth after the fact: what the hub and this machine run is compared with what was admitted."""

from fractions import Fraction

from running_parts import only, only_from_database

from jupyterhub_vessl.model.money import HOUR_MS
from jupyterhub_vessl.model.reconcile import HubServer
from jupyterhub_vessl.service.reconciler import Reconciler


async def test_a_server_that_vanished_is_billed_to_when_it_was_last_seen(service, reconciler, clock, monkeypatch):
    before = await service.balance_micros()
    await service.run()
    core = service.parts.core
    monkeypatch.setattr(core.clusters, "_adapters", {})  # a cluster that cannot be asked: the hub's word counts
    clock.ms += 100_000
    await reconciler.take_pass()
    service.hub.servers.clear()
    clock.ms += 500_000
    await reconciler.take_pass()
    assert (await only(service))["state"] == "running"
    await reconciler.take_pass()
    assert (await only(service))["state"] == "paused"
    assert await service.balance_micros() == before - round(Fraction(50_000 * 100_000, HOUR_MS))


async def test_while_the_hub_is_down_nothing_is_concluded(service, reconciler, clock, run_process):
    run_process((await service.run())[1])
    service.hub.down = True
    for _ in range(5):
        clock.ms += 60_000
        await reconciler.take_pass()
    assert (await only_from_database(service)) == 1
    _, health = await service.call("GET", "health")
    assert (health["status"], health["hub"]) == ("degraded", "does not answer")


async def test_a_server_that_nobody_admitted_is_stopped(service, reconciler):
    service.hub.servers["eve", ""] = HubServer("eve", "", True)
    await reconciler.take_pass()
    assert ("DELETE", "eve/") not in service.hub.calls
    await reconciler.take_pass()
    assert ("DELETE", "eve/") in service.hub.calls


async def test_more_servers_than_a_page_are_all_seen(service):
    for number in range(450):
        service.hub.servers[f"u{number}", ""] = HubServer(f"u{number}", "", True)
    assert len(await service.parts.core.hub.active_servers()) == 450


async def test_after_a_restart_the_last_note_of_life_counts(service, reconciler, clock, monkeypatch):
    before = await service.balance_micros()
    await service.run()
    core = service.parts.core
    monkeypatch.setattr(core.clusters, "_adapters", {})
    clock.ms += 120_000
    await reconciler.take_pass()  # writes "all alive"
    core.alive_ms.clear()  # the service is killed; later everything is gone
    service.hub.servers.clear()
    clock.ms += 3_600_000
    again = Reconciler(core, service.parts.admissions)
    await again._remember_sightings()
    await again.take_pass()
    await again.take_pass()
    assert await service.balance_micros() == before - round(Fraction(50_000 * 120_000, HOUR_MS))


async def test_a_process_that_no_server_leads_to_is_ended(service, reconciler, run_process):
    _, admission = await service.admit(team="vision")
    process = run_process(admission["plan"]["workspace_id"])
    await service.ended(admission["admission_id"], reason="failed")  # the hub was killed before it was ready
    await reconciler.take_pass()
    assert process.is_running()
    await reconciler.take_pass()
    assert process.wait(10) == -9


async def test_a_death_while_the_hub_is_down_is_billed_to_the_last_sign_of_life_and_explained_later(
    service, reconciler, run_process, clock
):
    before = await service.balance_micros()
    admission_id, workspace_id = await service.run()
    process = run_process(workspace_id)
    clock.ms += 100_000
    await reconciler.take_pass()
    service.hub.down = True
    process.kill()
    process.wait()
    for _ in range(2):
        clock.ms += 300_000
        await reconciler.take_pass()
    service.hub.down = False
    view = await only(service)
    assert (view["state"], view["message"]) == ("paused", "It was lost: its process is gone.")
    assert await service.balance_micros() == before - round(Fraction(50_000 * 100_000, HOUR_MS))
    await service.ended(admission_id, reason="out_of_memory")
    assert (await only(service))["message"].startswith("It needed more than 2 GiB of memory.")
    assert await service.balance_micros() == before - round(Fraction(50_000 * 100_000, HOUR_MS))
