"""``jupyterhub-vessl volume``: the real command and a real service, over HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from jupyterhub_vessl.cli import volume_wait
from jupyterhub_vessl.cli.app import cli
from jupyterhub_vessl.ledger.volumes import save_volume, volume_by_name
from jupyterhub_vessl.model.volume_rules import MAY_GO_BACK
from jupyterhub_vessl.service.volume_keeper import VolumeKeeper

GIB = 2**30
CLUSTER = ("--kind", "cluster", "--cluster", "laptop", "--size", "20Gi")
OBJECT = ("--kind", "object", "--size", "50Gi")


@pytest.fixture
def run(service):
    """Run a command as a person, beside the service."""

    def invoke(arguments, who, answer):
        environment = {"VESSL_URL": service.url, "VESSL_TOKEN": who, "JUPYTERHUB_API_TOKEN": "", "COLUMNS": "80"}
        return CliRunner().invoke(cli, ["volume", *arguments], env=environment, input=answer)

    async def command(*arguments, who="ada", answer=""):
        return await asyncio.to_thread(invoke, arguments, who, answer)

    return command


@pytest.fixture
def keep(service):
    """One pass of the keeper over the only cluster."""
    keeper = VolumeKeeper(service.parts.core)
    return lambda: keeper.keep("laptop")


async def test_the_list_says_what_the_api_says(service, run, run_json):
    _, found = await service.call("GET", "volumes?organization=acme", "mia")
    assert await run_json("list", who="mia") | {"at_ms": 0} == found | {"at_ms": 0}
    text = (await run("list", who="mia")).stdout
    for word in ("datasets", "100 GiB", "vision, speech (read-only)", "every cluster", "being made"):
        assert word in text
    assert "recordings" not in (await run("list", who="max")).stdout


async def test_one_volume_is_shown_with_all_about_it(service, run, run_json):
    await run_json("create", "models", *CLUSTER, "--team", "vision=rw")
    await service.run("mia", name="[b]sweep", storage={"models": "/m"})
    _, found = await service.call("GET", "volumes/acme/models", "ada")
    assert await run_json("show", "models") == found
    text = (await run("show", "models")).stdout
    for word in (
        "[b]sweep (mia)",
        "$4.00",
        "/models",
        "laptop",
        found["claim"],
        "paid by",
        "edit, grow, teams, delete",
    ):
        assert word in text, word
    assert found["claim"] not in (await run("show", "models", who="mia")).stdout
    assert "vessl.yaml, and changed there" in (await run("show", "datasets")).stdout


async def test_create_makes_it_once(run, run_json):
    teams = ("--team", "vision=rw", "--team", "speech=ro")
    options = ("--title", "Checkpoints", "--mount-path", "/ckpt")
    made = await run_json("create", "checkpoints", *OBJECT, *teams, *options, who="mia")
    assert (made["teams"], made["mount_path"]) == ({"vision": "rw", "speech": "ro"}, "/ckpt")
    assert (made["title"], made["size_bytes"], made["paying_team"]) == ("Checkpoints", 50 * GIB, "vision")
    again = await run_json("create", "checkpoints", *OBJECT, *teams, *options, who="mia")
    assert again["id"] == made["id"]
    text = (await run("create", "models", *CLUSTER, "--team", "vision=rw")).stdout
    assert text.startswith("Made models with 20 GiB, for $4.00 a month.\n")


async def test_grow_share_and_edit_change_what_they_name_and_nothing_else(run, run_json):
    before = await run_json("create", "models", *CLUSTER, "--team", "vision=rw")
    grown = await run_json("grow", "models", "40Gi")
    assert grown == before | {"size_bytes": 40 * GIB} | {k: grown[k] for k in ("month_micros", "rate_micros_per_hour")}
    assert grown["month_micros"] == 2 * before["month_micros"]
    shared = await run_json("share", "models", "--team", "speech=ro")
    assert shared["teams"] == {"vision": "rw", "speech": "ro"}
    assert (await run_json("share", "models", "--team", "speech=none"))["teams"] == {"vision": "rw"}
    edited = await run_json("edit", "models", "--title", "Models of all")
    assert (edited["title"], edited["mount_path"], edited["teams"]) == ("Models of all", "/models", {"vision": "rw"})
    assert (await run("grow", "models", "50Gi")).stdout.startswith("models has 50 GiB, for $10.00 a month.\n")


async def test_wait_ends_when_it_is_bound(run, keep, monkeypatch):
    monkeypatch.setattr(volume_wait, "POLL_SECONDS", 0.05)
    waiting = asyncio.ensure_future(run("create", "models", *CLUSTER, "--team", "vision=rw", "--wait", "-o", "json"))
    while not waiting.done():
        await keep()
        await asyncio.sleep(0.05)
    result = waiting.result()
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["state"] == "bound"
    assert result.stderr in ("", "models is being made.\n")


async def test_wait_gives_up_with_the_reason(run, monkeypatch):
    monkeypatch.setattr(volume_wait, "POLL_SECONDS", 0.05)
    result = await run("create", "models", *CLUSTER, "--team", "vision=rw", "--wait", "--timeout", "1")
    assert (result.exit_code, result.stdout) == (1, "")
    first, last = result.stderr.splitlines()
    assert first == "models is being made."
    assert last == "models is still being made after 1 s. It goes on; look at it with: volume show."


async def test_delete_asks_and_says_what_is_lost(service, run, run_json, keep, monkeypatch):
    monkeypatch.setattr(volume_wait, "POLL_SECONDS", 0.05)
    await run_json("create", "models", *CLUSTER, "--team", "vision=rw")
    await keep()
    refused = await run("delete", "models", answer="n\n")
    assert refused.exit_code == 1
    assert "Every file in models (20 GiB of vision) is lost for ever." in refused.stderr
    assert (await run("delete", "models")).exit_code == 1
    assert (await run_json("show", "models"))["state"] == "bound"
    waiting = asyncio.ensure_future(run("delete", "models", "--wait", answer="y\n"))
    while not waiting.done():
        await keep()
        await asyncio.sleep(0.05)
    done = waiting.result()
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "models is gone.")
    assert (await run("show", "models")).stderr == "There is no volume models that you may see.\n"


async def test_delete_without_waiting_is_accepted_at_once(run, run_json):
    await run_json("create", "models", *CLUSTER, "--team", "vision=rw")
    done = await run("delete", "models", "--yes")
    assert done.stdout.startswith("models is being deleted and costs nothing any more.\n")
    assert (await run("delete", "models", "--yes")).exit_code == 0
    assert (await run_json("show", "models"))["state"] == "deleting"


async def test_what_is_mounted_is_not_deleted(service, run, run_json):
    await run_json("create", "models", *CLUSTER, "--team", "vision=rw")
    await service.run("mia", name="sweep", storage={"models": "/m"})
    for arguments in (("delete", "models"), ("delete", "models", "--yes")):
        result = await run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "1 workspace mounts models now (sweep)." in result.stderr
        assert "Delete it?" not in result.stderr


REFUSED = {
    "no size": (("create", "x", "--kind", "object", "--size", "50", "--team", "vision=rw"), "ada"),
    "no such cluster": (("create", "x", "--kind", "cluster", "--cluster", "moon", "--size", "1Gi"), "ada"),
    "cluster storage without a cluster": (("create", "x", "--kind", "cluster", "--size", "1Gi"), "ada"),
    "a name that is none": (("create", "../x", *OBJECT, "--team", "vision=rw"), "ada"),
    "no such team": (("create", "x", *OBJECT, "--team", "cooking=rw"), "ada"),
    "cluster storage by a member": (("create", "x", *CLUSTER, "--team", "vision=rw"), "mia"),
    "a team that is not one's own": (("create", "x", *OBJECT, "--team", "speech=rw"), "max"),
    "anything by a viewer": (("create", "x", *OBJECT, "--team", "speech=rw"), "vic"),
    "another organization": (("create", "x", *OBJECT, "--organization", "umbrella"), "ada"),
    "a claim on this machine": (("create", "x", *CLUSTER, "--claim", "hub-db-dir"), "ada"),
    "a path over the home": (("create", "x", *OBJECT, "--team", "vision=rw", "--mount-path", "/home"), "ada"),
    "a hostile title": (("create", "x", *OBJECT, "--team", "vision=rw", "--title", "$(reboot)"), "ada"),
    "a name that is taken": (("create", "datasets", *OBJECT, "--team", "vision=rw"), "ada"),
    "a smaller size": (("grow", "mine", "1Gi"), "ada"),
    "a volume of vessl.yaml": (("grow", "datasets", "200Gi"), "ada"),
    "its deletion": (("delete", "datasets", "--yes"), "ada"),
    "a volume of others": (("share", "recordings", "--team", "vision=rw"), "max"),
    "nothing": (("show", "nothing"), "ada"),
}


async def test_what_makes_no_sense_is_one_clear_sentence_and_changes_nothing(run, run_json):
    await run_json("create", "mine", *OBJECT, "--team", "vision=rw")
    before = (await run_json("list"))["volumes"]
    for name, (arguments, who) in REFUSED.items():
        result = await run(*arguments, who=who)
        said = result.stderr.strip()
        assert (result.exit_code, result.stdout) == (1, ""), (name, result.output)
        assert said.endswith("."), (name, said)
        assert "\n" not in said, (name, said)
        assert len(said) < 300, (name, said)
    assert (await run_json("list"))["volumes"] == before


async def test_wrong_usage_exits_2_and_asks_nobody(run):
    for arguments in (
        ("create", "x"),
        ("create", "x", "--kind", "tape", "--size", "1Gi"),
        ("create", "x", *OBJECT, "--team", "vision"),
        ("create", "x", *OBJECT, "--team", "vision=all"),
        ("create", "x", *OBJECT, "--timeout", "0"),
        ("grow", "x"),
        ("share", "x"),
        ("edit", "x"),
        ("delete",),
    ):
        assert (await run(*arguments, who="nonsense")).exit_code == 2, arguments
    assert (await run("list", who="nonsense")).exit_code == 1


async def test_where_growth_is_refused_it_says_what_the_size_can_go_back_to(service, run, run_json, keep):
    await run_json("create", "models", *CLUSTER, "--team", "vision=rw")
    await keep()
    core = service.parts.core

    def refuse(connection):
        known = volume_by_name(connection, "acme", "models")
        save_volume(connection, known.model_copy(update={"reason": f"The quota is used up. {MAY_GO_BACK}"}))

    assert "go back" not in (await run("grow", "models", "30Gi")).stdout
    await core.database.run(refuse)
    assert "30 GiB; it can go back to 20 GiB" in (await run("show", "models")).stdout
    assert (await run_json("grow", "models", "20Gi"))["size_bytes"] == 20 * GIB
    assert "go back" not in (await run("show", "models")).stdout
