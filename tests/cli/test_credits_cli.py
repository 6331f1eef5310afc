"""``jupyterhub-vessl credits``: the real command and a real service, over HTTP."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import pytest
import sqlalchemy as sa
from aiohttp import web
from click.testing import CliRunner

from jupyterhub_vessl.cli.app import cli
from jupyterhub_vessl.cli.credits_budget import as_typed
from jupyterhub_vessl.ledger.database import open_engine
from jupyterhub_vessl.model.units import parse_size_bytes
from jupyterhub_vessl.model.wire_credits import LimitsView

HOUR_MS = 3_600_000


def invoke(url, token, arguments):
    environment = {"VESSL_URL": url, "VESSL_TOKEN": token, "JUPYTERHUB_API_TOKEN": "", "COLUMNS": "80"}
    return CliRunner().invoke(cli, ["credits", *arguments], env=environment)


@pytest.fixture
def run(service):
    """Run a command as a person, beside the service."""

    async def command(*arguments, who="ada", url=service.url):
        return await asyncio.to_thread(invoke, url, who, arguments)

    return command


async def test_balance_says_what_the_api_says(service, run, run_json, clock):
    await service.run("mia")
    clock.ms += HOUR_MS
    _, view = await service.call("GET", "organizations/acme/balance", "mia")
    assert await run_json("balance", who="mia") == view
    text = (await run("balance", who="mia")).stdout
    assert text.startswith("Acme Research (acme)\n  balance  $49.95\n")
    assert "$0.0" in text.split("burns", 1)[1]
    assert (await run_json("balance", "--at", "2027-01-15T08:30:00Z"))["balance_micros"] > view["balance_micros"]


async def test_history_goes_over_pages_and_has_what_still_runs_on_top(service, run, run_json, clock):
    await service.run("mia", name="going on")
    for number in range(6):
        await service.call(
            "POST", "organizations/acme/top-ups", "ada", {"amount": "1", "reference": f"INV {number}", "note": "[b]x"}
        )
    page = await run_json("history", "--limit", "3")
    kinds = [line["kind"] for line in page["lines"] if not line["open"]]
    assert kinds == ["top-up"] * 3
    assert page["lines"][0]["open"]
    assert page["next"]
    every = await run_json("history", "--all")
    assert every["next"] is None
    assert sum(line["amount_micros"] for line in every["lines"] if not line["open"]) == 56_000_000
    text = (await run("history")).stdout
    assert "[b]x" in text
    assert "$50.00" in text
    assert "The newest" in (await run("history", "--limit", "2")).stdout
    assert "balance" not in (await run("history", who="mia")).stdout.splitlines()[0]


async def test_a_long_history_is_fetched_whole_and_without_doubles(service, run_json):
    def fill(connection):
        from jupyterhub_vessl.ledger.postings import CREDITS, PAYMENTS, Transaction, post_many

        paid = [Transaction("acme", "top-up", 1, 1, "ada", str(n), "test") for n in range(450)]
        post_many(connection, [(transaction, {CREDITS: 1, PAYMENTS: -1}) for transaction in paid])

    await service.parts.core.database.run(fill)
    lines = (await run_json("history", "--all"))["lines"]
    assert len({line["id"] for line in lines}) == len(lines) == 451
    assert len((await run_json("history", "--limit", "250"))["lines"]) == 250


async def test_a_top_up_is_recorded_once_for_each_reference(service, run, run_json):
    first = await run_json("top-up", "12.50", "--reference", "INV 7", "--currency", "USD")
    again = await run_json("top-up", "12.50", "--reference", "INV 7", "--currency", "USD")
    assert first["id"] == again["id"]
    assert await service.balance_micros() == 62_500_000
    back = await run_json("refund", "--top-up", "INV 7", "--amount", "2.5", "--reference", "R 7")
    assert back["amount_micros"] == -2_500_000
    shown = (await run("refund", "--top-up", "INV 7", "--amount", "1", "--reference", "R 8")).stdout
    assert shown.startswith("Refunded $1.00 on ")
    assert await service.balance_micros() == 59_000_000


async def test_a_grant_is_given_narrowed_and_taken_back_by_its_number(run, run_json):
    options = ("--title", "Spring", "--priority", "5", "--expires", "2099-01-01", "--gpu-only", "--kind", "compute")
    given = (await run_json("grant", "10", "--reference", "G1", *options, "--specs", "h100-1, a100-1"))["grant"]
    assert given["applies"] == {"kind": "compute", "gpu": True, "specs": ["h100-1", "a100-1"]}
    assert (given["priority"], given["title"], given["state"]) == (5, "Spring", "live")
    text = (await run("balance")).stdout
    assert "Spring" in text
    assert "$60.00" in text
    assert (await run("void", str(given["number"]))).stdout.startswith("Took back $10.00: grant ")
    assert (await run_json("balance"))["balance_micros"] == 50_000_000
    refused = await run("void", "no-such")
    assert (refused.exit_code, refused.stderr) == (1, "There is no such grant.\n")


async def test_a_budget_keeps_what_is_not_named_and_loses_what_is_none(run, run_json):
    await run_json("budget", "set", "--team", "vision", "--day", "12.5", "--storage", "1.5Ti", "--gpus", "4")
    changed = await run_json("budget", "set", "--team", "vision", "--day", "20", "--gpus", "none")
    (limits,) = [b["set"] for b in changed["budgets"] if (b["team"], b["user"]) == ("vision", "")]
    assert limits == {
        "day_micros": 20_000_000,
        "month_micros": None,
        "workspaces": None,
        "gpus": None,
        "storage_bytes": 3 * 2**39,
    }
    text = (await run("budget", "list")).stdout
    assert "$20.00" in text
    assert "1.5 TiB" in text
    refused = await run("budget", "set", "--team", "vision", "--day", "1", who="mia")
    assert refused.exit_code == 1
    assert (await run("budget", "set", "--team", "vision")).exit_code == 2


@pytest.mark.parametrize("size", ["1.001Ki", "500Gi", "0.5Ti", "1.5G", "999.999M", "2Ti"])
def test_a_size_goes_there_and_back(size):
    size_bytes = parse_size_bytes(size)
    assert parse_size_bytes(as_typed(LimitsView(storage_bytes=size_bytes))["storage"]) == size_bytes


TOP_UP = ("top-up", "--reference", "new")
REFUSED = {
    "negative": (*TOP_UP, "-5"),
    "zero": (*TOP_UP, "0"),
    "not a number": (*TOP_UP, "NaN"),
    "infinite": (*TOP_UP, "inf"),
    "huge": (*TOP_UP, "1e30"),
    "beyond all": (*TOP_UP, "9" * 400),
    "seven decimals": (*TOP_UP, "20.1234567"),
    "with a sign": (*TOP_UP, "$20"),
    "below the minimum": (*TOP_UP, "0.5"),
    "another currency": (*TOP_UP, "20", "--currency", "EUR"),
    "no currency": (*TOP_UP, "20", "--currency", "dollars"),
    "another organization": (*TOP_UP, "20", "--organization", "umbrella"),
    "no organization": (*TOP_UP, "20", "--organization", "../../me"),
    "a reference used for something else": ("top-up", "20", "--reference", "used"),
    "an empty reference": ("top-up", "20", "--reference", ""),
    "a hostile reference": ("top-up", "20", "--reference", "$(reboot)"),
    "a grant that is negative": ("grant", "-5", "--reference", "new"),
    "a grant that has expired": ("grant", "5", "--reference", "new", "--expires", "2001-01-01"),
    "a grant for no such spec": ("grant", "5", "--reference", "new", "--specs", "h900"),
    "a grant of no kind": ("grant", "5", "--reference", "new", "--kind", "sauce"),
    "a grant at no instant": ("grant", "5", "--reference", "new", "--effective", "tomorrow"),
    "a negative refund": ("refund", "--top-up", "used", "--amount", "-1", "--reference", "r"),
    "more than was paid": ("refund", "--top-up", "used", "--amount", "11", "--reference", "r"),
    "a refund of nothing": ("refund", "--top-up", "nothing", "--amount", "1", "--reference", "r"),
    "a budget below what is spent": ("budget", "set", "--team", "vision", "--day", "0.01"),
    "a negative budget": ("budget", "set", "--team", "vision", "--month", "-1"),
    "a budget with seven decimals": ("budget", "set", "--team", "vision", "--month", "1.0000001"),
    "a budget of no team": ("budget", "set", "--team", "cooking", "--month", "1"),
    "half a workspace": ("budget", "set", "--team", "vision", "--workspaces", "0.5"),
    "storage without a unit": ("budget", "set", "--team", "vision", "--storage", "500"),
    "a balance to come": ("balance", "--at", "2098-01-01"),
    "a balance at no instant": ("balance", "--at", "yesterday"),
}


async def books(service):
    """Everything that a command could have changed."""

    def work(connection):
        names = ("transactions", "entries", "grants", "budgets", "events", "idempotency_keys")
        return [connection.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar() for name in names]

    return await service.parts.core.database.run(work)


async def test_what_makes_no_sense_is_one_clear_sentence_and_changes_nothing(service, run, clock):
    admission_id, _ = await service.run("mia")
    clock.ms += HOUR_MS
    await service.ended(admission_id)
    assert (await run("top-up", "10", "--reference", "used")).exit_code == 0
    before = await books(service)
    for name, arguments in REFUSED.items():
        result = await run(*arguments)
        said = result.stderr.strip()
        assert (result.exit_code, result.stdout) == (1, ""), (name, result.output)
        assert said.endswith("."), (name, said)
        assert "\n" not in said, (name, said)
        assert len(said) < 300, (name, said)
        assert "Traceback" not in said
        assert await books(service) == before, name
    for who in ("max", "mia", "zoe", "nonsense"):
        for arguments in (("top-up", "20", "--reference", "x"), ("grant", "5", "--reference", "y")):
            assert (await run(*arguments, who=who)).exit_code == 1
    assert await books(service) == before


async def test_wrong_usage_exits_2_and_asks_nobody(run):
    for arguments in (
        ("top-up", "20"),
        ("top-up", "20", "30", "--reference", "x"),
        ("top-up", "20", "--reference", "x", "--colour", "blue"),
        ("history", "--limit", "0"),
        ("export", "--format", "pdf"),
        ("balance", "--url", "ftp://example"),
        ("balance", "--token", "secret"),
    ):
        assert (await run(*arguments)).exit_code == 2, arguments


async def test_the_token_comes_from_a_file_or_the_environment(run, tmp_path):
    file = tmp_path / "token"
    file.write_text("ada\n")
    assert (await run("balance", "--token-file", str(file), who="nonsense")).exit_code == 0
    refused = await run("balance", who="nonsense")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("The hub does not know this token, or ")
    missing = await run("balance", "--token-file", str(tmp_path / "none"))
    assert missing.exit_code == 2
    assert "There is no token" in (await run("balance", who="")).stderr
    file.write_text("two words")
    assert "holds no token" in (await run("balance", "--token-file", str(file))).stderr


async def test_nobody_at_the_url_is_one_sentence(run):
    for url in ("http://127.0.0.1:1/services/vessl/", "http://no such host/"):
        result = await run("balance", url=url)
        assert result.exit_code == 1
        assert result.stderr.startswith("The service that keeps credits does not answer.")


async def test_somebody_of_no_organization_is_told(run):
    result = await run("balance", who="zoe")
    assert (result.exit_code, result.stderr) == (1, "You belong to no organization.\n")


# -- export --------------------------------------------------------------------


async def test_an_export_is_the_movements_and_is_narrowed(service, run, tmp_path, clock):
    for who in ("mia", "tom"):
        admission_id, _ = await service.run(who)
        clock.ms += HOUR_MS
        await service.ended(admission_id)
    result = await run("export", "--team", "vision", "--from", "2027-01-01", "--to", "2027-02-01")
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert rows
    assert "tom" not in result.stdout
    file = tmp_path / "all.json"
    file.write_text("old")
    assert (await run("export", "-o", "json", "--output", str(file))).exit_code == 0
    assert {"mia", "tom"} <= set(json.dumps(json.loads(file.read_text())).replace('"', " ").split())
    assert (await run("export", "--format", "focus")).stdout.count("BilledCost") == 1


@pytest.fixture
async def broken_off():
    """A service whose export stops in the middle."""

    async def export(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"half of it")
        request.transport.close()
        return answer

    app = web.Application()
    app.router.add_get("/api/v1/organizations/acme/export", export)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_an_export_that_breaks_off_leaves_the_file_as_it_was(run, broken_off, tmp_path):
    file = tmp_path / "export.csv"
    file.write_text("old")
    result = await run("export", "--organization", "acme", "--output", str(file), url=broken_off)
    assert (result.exit_code, result.stderr) == (1, "The export broke off, so it is not complete. Try again.\n")
    assert file.read_text() == "old"
    assert list(tmp_path.glob(".export*")) == []
    nowhere = await run("export", "--output", str(tmp_path / "none" / "x.csv"))
    assert nowhere.exit_code == 1
    assert nowhere.stderr.startswith("The export could not be written: No such file")
    refused = await run("export", "--output", str(file), "--from", "yesterday")
    assert refused.exit_code == 1
    assert file.read_text() == "old"


# -- audit ---------------------------------------------------------------------


async def test_an_audit_finds_what_somebody_changed_behind_the_books(service, run, run_json, database_url, clock):
    await service.run("mia")
    clock.ms += HOUR_MS
    text = (await run("audit")).stdout
    assert "every balance is right" in text
    assert (await run_json("audit", "--database", database_url))["ok"]
    change = sa.text("UPDATE balances SET settled_micros = settled_micros + 7")
    await service.parts.core.database.run(lambda c: c.execute(change))
    for arguments in (("audit",), ("audit", "--database", database_url)):
        result = await run(*arguments)
        assert result.exit_code == 1, result.output
        assert "1 difference" in result.stdout
        assert "balance: 50000007 is recorded, 50000000 follows from the books" in result.stdout
        found = await run(*arguments, "-o", "json")
        assert json.loads(found.stdout)["ok"] is False


async def test_an_audit_of_a_database_holds_up_nobody_and_writes_nothing(service, run, database_url):
    """It works while somebody is in the middle of writing, and without a service or a token."""
    engine = open_engine(database_url)
    with engine.connect() as connection:
        connection.execute(sa.text("UPDATE balances SET settled_micros = 0"))
        result = await run("audit", "--database", database_url, who="")
        assert (result.exit_code, result.stderr) == (0, "")
    engine.dispose()


def test_an_audit_of_what_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "text").write_text("not a database " * 100)
    for url in (f"sqlite:///{tmp_path}/none", f"sqlite:///{tmp_path}/text", "sqlite://", "nonsense", "mysql://x/y"):
        result = invoke("", "", ["audit", "--database", url])
        assert result.exit_code == 1, url
        assert result.stderr.endswith(".\n") or "postgresql://…" in result.stderr
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()
