"""Credits that run out: notices, pauses, the grace and the termination, each once, each with its reason."""

import pytest
import sqlalchemy as sa

from jupyterhub_vessl.ledger.schema import outbox

HOUR_MS = 3_600_000
NOTIFY = pytest.mark.offer("opening: 50", 'opening: 50, notify: ["json://127.0.0.1:9/hook"], notify_at: [20, 0]')


async def kinds(service, who="ada"):
    _, events = await service.call("GET", "events", who)
    return [event["kind"] for event in events["events"]]


async def sent(service):
    query = sa.select(outbox.c.title).order_by(outbox.c.id)
    return list(await service.parts.core.database.run(lambda c: c.execute(query).scalars().all()))


async def run_until(service, enforcer, carrier, clock, end_ms):
    """As the loops do: from deadline to deadline."""
    while (at_ms := service.parts.core.next_deadline_ms) is not None and at_ms <= end_ms:
        clock.ms = max(at_ms, clock.ms)
        await enforcer.look()
        await carrier.carry()
    clock.ms = end_ms
    await enforcer.look()


async def view_of(service, workspace_id):
    _, view = await service.call("GET", f"workspaces/{workspace_id}", "mia")
    return view


@NOTIFY
async def test_from_plenty_to_termination_everything_happens_once_and_at_its_time(
    service, enforcer, carrier, clock, report_ends
):
    _, workspace_id = await service.run(spec="cpu-medium")  # 0.11 an hour: 545 hours to the end of the buffer
    await enforcer.look()
    _, balance = await service.call("GET", "organizations/acme/balance", "ada")
    pause_ms = balance["pause_ms"]
    await run_until(service, enforcer, carrier, clock, pause_ms - 25 * HOUR_MS)
    assert await sent(service) == ["Acme Research: $20.00 left", "Acme Research: $0.00 left"]

    await run_until(service, enforcer, carrier, clock, pause_ms - 1)
    hourly = (await sent(service))[2:]
    assert len(hourly) == 24
    assert hourly[0] == "Acme Research: running workspaces pause in 24 h"
    assert hourly[-1] == "Acme Research: running workspaces pause in 1 h"

    await run_until(service, enforcer, carrier, clock, pause_ms)
    assert await service.balance_micros() == -10_000_000
    view = await view_of(service, workspace_id)
    assert view["state"] == "paused"
    assert view["message"].startswith("Credits reached −$10.00. Your files in Home")
    assert (await sent(service))[26] == "Acme Research: credits are used up, 1 workspace was paused"
    _, balance = await service.call("GET", "organizations/acme/balance", "mia")
    assert balance["terminate_ms"] == pause_ms + 24 * HOUR_MS

    await run_until(service, enforcer, carrier, clock, pause_ms + 24 * HOUR_MS - 1)
    grace = (await sent(service))[27:]
    assert len(grace) == 24
    assert grace[-1] == "Acme Research: 1 paused workspace is terminated in 1 h"
    assert (await view_of(service, workspace_id))["state"] == "paused"

    await run_until(service, enforcer, carrier, clock, pause_ms + 24 * HOUR_MS)
    view = await view_of(service, workspace_id)
    assert view["state"] == "terminated"
    assert "credits were used up for 24 h and nobody topped up" in view["message"]
    before = await sent(service)
    await run_until(service, enforcer, carrier, clock, pause_ms + 200 * HOUR_MS)
    assert await sent(service) == before
    found = await kinds(service)
    assert "credits-terminated" in found


@NOTIFY
async def test_a_top_up_in_the_grace_ends_it_and_arms_the_notices_again(service, enforcer, carrier, clock, report_ends):
    _, workspace_id = await service.run(spec="cpu-medium")
    await enforcer.look()
    _, balance = await service.call("GET", "organizations/acme/balance", "ada")
    await run_until(service, enforcer, carrier, clock, balance["pause_ms"] + 2 * HOUR_MS)
    told = len(await sent(service))
    await service.call("POST", "organizations/acme/top-ups", "ada", {"amount": "40", "reference": "r1"})
    await enforcer.look()
    assert service.parts.core.next_deadline_ms % 86_400_000 == 0  # nothing but the close of the day
    assert len(await sent(service)) == told
    assert (await view_of(service, workspace_id))["state"] == "paused"
    _, balance = await service.call("GET", "organizations/acme/balance", "mia")
    assert balance["balance_micros"] == 30_000_000  # the negative balance was netted
    assert balance["terminate_ms"] is None
    await service.run(spec="cpu-medium")
    await run_until(service, enforcer, carrier, clock, clock.ms + 100 * HOUR_MS)
    assert (await sent(service))[told:] == ["Acme Research: $20.00 left"]


@pytest.mark.offer("policy: buffer, buffer: 10", "policy: pause-at-zero")
async def test_pause_at_zero_pauses_at_zero(service, enforcer, carrier, clock, report_ends):
    _, workspace_id = await service.run(spec="cpu-medium")
    await enforcer.look()
    _, balance = await service.call("GET", "organizations/acme/balance", "ada")
    assert balance["pause_ms"] == balance["empty_ms"]
    await run_until(service, enforcer, carrier, clock, balance["pause_ms"])
    assert await service.balance_micros() == 0
    assert (await view_of(service, workspace_id))["message"].startswith("Credits reached $0.00.")


@pytest.mark.offer("opening: 50", "opening: 50, dry_run: true")
async def test_a_dry_run_says_what_it_would_do_once_and_does_nothing(service, enforcer, carrier, clock, report_ends):
    _, workspace_id = await service.run(spec="cpu-medium")
    await enforcer.look()
    _, balance = await service.call("GET", "organizations/acme/balance", "ada")
    await run_until(service, enforcer, carrier, clock, balance["pause_ms"] + 100 * HOUR_MS)
    assert (await view_of(service, workspace_id))["state"] == "running"
    assert service.hub.calls == []
    found = await kinds(service)
    assert found.count("dry-run") == 1
    assert found.count("credits-paused") == 1
    assert (await service.admit("mia", "b", team="vision", spec="cpu-small"))[0] == 201


async def test_what_a_grant_for_gpus_pays_for_goes_on_when_the_wallet_is_empty(service, clock):
    """The wallet at its floor pauses what it pays for, and nothing that a grant pays for."""
    from jupyterhub_vessl.ledger.spans import open_span
    from jupyterhub_vessl.service.credit_watch import CreditWatch

    grant = {"amount": "100", "reference": "g", "title": "GPU promo", "applies": {"gpu": True}}
    assert (await service.call("POST", "organizations/acme/grants", "ada", grant))[0] == 201
    _, cpu = await service.run("mia", "cpu", spec="cpu-medium")
    _, gpu = await service.run("mia", "gpu", spec="cpu-medium")

    def make_it_a_gpu(connection):
        from jupyterhub_vessl.ledger.spans import end_spans, open_spans

        span = next(s for s in open_spans(connection, "acme") if s.workspace_id == gpu)
        now_ms = clock.ms
        end_spans(connection, [span], at_ms=now_ms, now_ms=now_ms, actor="test", reason="test")
        kept = ("organization", "team", "person", "workspace_id", "admission_id", "kind", "rate_micros_per_hour")
        values = {name: getattr(span, name) for name in kept}
        open_span(connection, **values, started_ms=now_ms, item="h100-1", gpus=1)

    await service.parts.core.database.run(make_it_a_gpu)
    clock.ms += 60 * 3_600_000 * 100 // 11  # the wallet reaches −10 at 0.11 an hour
    await service.parts.core.database.run(lambda c: CreditWatch(service.parts.core).look(c, "acme"))
    assert "being paused" in (await view_of(service, cpu))["message"]
    assert (await view_of(service, gpu))["message"] == ""
    assert (await service.admit("tom", "b", team="speech", spec="cpu-small"))[0] == 402


async def test_a_wallet_that_rests_at_its_floor_is_not_looked_at_again_and_again(service, clock):
    """A grant pays for everything, the wallet stands still a micro-credit above the floor, and spans are many."""
    from jupyterhub_vessl.ledger.postings import CREDITS, USAGE, Transaction, post
    from jupyterhub_vessl.ledger.spans import STORAGE, open_span
    from jupyterhub_vessl.service.credit_watch import CreditWatch

    grant = {"amount": "100", "reference": "g", "applies": {"kind": "storage"}}
    assert (await service.call("POST", "organizations/acme/grants", "ada", grant))[0] == 201

    def many_volumes(connection):
        used = Transaction("acme", "usage", clock.ms, clock.ms, "test", "earlier use", "test")
        amount = 60_000_000 - 1
        post(connection, used, {CREDITS: -amount, USAGE: amount})
        for number in range(150):
            open_span(
                connection,
                organization="acme",
                team="vision",
                person="",
                workspace_id="",
                admission_id="",
                kind=STORAGE,
                rate_micros_per_hour=192,
                started_ms=clock.ms,
                item=f"cluster/v{number}",
            )

    await service.parts.core.database.run(many_volumes)
    clock.ms += 12_345
    _, next_ms = await service.parts.core.database.run(lambda c: CreditWatch(service.parts.core).look(c, "acme"))
    assert next_ms > clock.ms + 3_600_000
