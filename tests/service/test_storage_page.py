"""The page Storage: who sees which volume, who may make, change and delete one, and what is refused."""

from __future__ import annotations

import html
import re

import pytest
from page_parts import HOSTILE, cookie_of

from jupyterhub_vessl.ledger.schema import volumes
from jupyterhub_vessl.service.volume_keeper import VolumeKeeper

PREFIX = "/services/vessl/"
CHECKPOINTS = {
    "organization": "acme",
    "kind": "object",
    "name": "checkpoints",
    "title": "Checkpoints",
    "size": "50Gi",
    "team-vision": "rw",
    "team-speech": "ro",
}
MODELS = {
    "organization": "acme",
    "kind": "cluster",
    "name": "models",
    "cluster": "laptop",
    "size": "20Gi",
    "team-vision": "rw",
}


@pytest.fixture
def keep(service):
    """One pass of the keeper over the only cluster."""
    keeper = VolumeKeeper(service.parts.core)
    return lambda: keeper.keep("laptop")


@pytest.fixture
def make(browse):
    """Make a volume through its form."""

    async def work(form, who="ada", **other):
        done = await browse("storage/new", who, form=form | other)
        assert done.status == 303, done.text
        return done.headers["Location"].removeprefix(PREFIX)

    return work


async def volume(service, name, who="ada"):
    status, found = await service.call("GET", f"volumes/acme/{name}", who)
    return found if status == 200 else None


def row(page, name):
    """What stands in the row of a volume, as a reader sees it."""
    source = page.source.split(f'id="volume-{name}"', 1)[1].split("</tr>", 1)[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", source.split(">", 1)[1])).split())


def field_error(page, name):
    """What is wrong with a field of a form."""
    match = re.search(rf'id="vessl-{name}-error"[^>]*>(.*?)</p>', page.source, re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "", match[1])).strip() if match else ""


# -- the list ------------------------------------------------------------------


async def test_a_row_says_all_about_a_volume(service, browse, make, keep):
    await make(MODELS | {"team-speech": "ro", "title": "Models"})
    await keep()
    await service.run("mia", name="fine-tune", storage={"models": "/m"})
    page = await browse("storage", "mia")
    words = row(page, "models")
    for text in ("Models models", "Cluster storage", "This machine", "20 GiB", "$4.00", "Ready", "fine-tune · mia"):
        assert text in words, text
    assert "Computer Vision pays" in words
    assert "Speech read-only" in words
    assert f'data-micros="{(await volume(service, "models", "mia"))["month_micros"]}"' in page.source
    assert "fine-tune" not in row(await browse("storage", "tom"), "models")
    assert "1 of other people" in row(await browse("storage", "tom"), "models")
    handbook = row(page, "handbook")
    for text in ("every cluster", "comes from vessl.yaml", "nobody now", "free"):
        assert text in handbook, text


async def test_each_kind_explains_itself_with_its_price(browse):
    page = await browse("storage", "vic")
    kinds = page.text.split("What each kind is for", 1)[1]
    for title, *words in (
        ("Cluster storage", "Survives the termination", "$0.20 per GiB and month"),
        ("Object storage", "every cluster", "/shared", "free"),
        ("Workspace volume", "20 GiB", "deleted when it is terminated", "/home/jovyan"),
        ("Temporary storage", "Wiped at every stop", "/scratch"),
    ):
        line = kinds.split(title, 1)[1]
        for word in words:
            assert word in line, (title, word)


async def test_everybody_sees_the_volumes_of_the_own_teams(browse):
    for who in ("ada", "max", "mia", "tom", "vic"):
        seen = set(re.findall(r'id="volume-([a-z-]+)"', (await browse("storage", who)).source))
        assert seen == {"datasets", "handbook"} | (set() if who == "max" else {"recordings"}), who


@pytest.mark.parametrize(
    ("who", "kinds"), [("ada", ["cluster", "object"]), ("max", ["object"]), ("mia", ["object"]), ("vic", [])]
)
async def test_what_may_be_made_depends_on_the_role(browse, who, kinds):
    page = await browse("storage", who)
    assert re.findall(r"storage/new\?kind=([a-z]+)", page.source) == kinds
    for kind in ("cluster", "object"):
        form = await browse(f"storage/new?kind={kind}&organization=acme", who)
        assert form.status == (200 if kind in kinds else 403)


async def test_a_viewer_finds_nothing_to_press(browse, make):
    await make(CHECKPOINTS)
    page = await browse("storage", "vic")
    assert "Checkpoints" in row(page, "checkpoints")
    assert not re.search(r'<form[^>]*method="post"|/delete"|>Change<', page.source)
    assert 'method="post"' not in (await browse("storage/acme/checkpoints", "vic")).source
    for path, form in (("storage/acme/checkpoints", {"title": "x", "mount_path": "/x"}), ("storage/new", CHECKPOINTS)):
        assert (await browse(path, "vic", form=form)).status == 403
    assert (await browse("storage/acme/checkpoints/delete", "vic", form={})).status == 403


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("ada", "Make the first cluster storage"),
        ("mia", "Make the first object storage"),
        ("vic", "Ask ada@acme.example"),
    ],
)
async def test_an_empty_list_says_what_to_do_first(service, browse, who, words):
    ended = volumes.update().values(slot=None, ended_ms=1)
    await service.parts.core.database.run(lambda connection: connection.execute(ended))
    assert words in (await browse("storage", who)).text


async def test_somebody_of_no_organization_is_told(browse):
    page = await browse("storage", "zoe")
    assert page.status == 404
    assert "You belong to no organization yet." in page.text
    assert (await browse("storage?organization=umbrella", "mia")).status == 404


# -- making --------------------------------------------------------------------


async def test_an_admin_makes_cluster_storage_that_is_there_soon(service, browse, make, keep):
    page = await browse(await make(MODELS))
    assert "models is being made. It can be chosen for a workspace already." in page.text
    assert "Being made" in row(page, "models")
    assert "data-changing" in page.source
    await keep()
    page = await browse("storage", "ada")
    assert "Ready" in row(page, "models")
    found = await volume(service, "models")
    assert (found["teams"], found["mount_path"], found["size_bytes"]) == ({"vision": "rw"}, "/models", 20 * 2**30)


async def test_a_member_makes_object_storage_for_the_own_teams(service, make):
    await make(CHECKPOINTS, "mia", payer="vision")
    found = await volume(service, "checkpoints", "tom")
    assert (found["teams"], found["paying_team"]) == ({"vision": "rw", "speech": "ro"}, "vision")
    assert found["mount_path"] == "/shared/checkpoints"


async def test_the_team_that_pays_can_be_chosen(service, browse, make):
    both = MODELS | {"team-speech": "rw"}
    await make(both, payer="speech")
    assert (await volume(service, "models"))["paying_team"] == "speech"
    refused = await browse("storage/new", "ada", form=MODELS | {"name": "more", "payer": "speech", "team-speech": "ro"})
    assert refused.status == 400
    assert "may read and write" in field_error(refused, "payer")
    assert await volume(service, "more") is None


async def test_the_price_is_shown_before_anything_is_made(service, browse):
    form = await browse("storage/new?kind=cluster", "ada")
    assert "$0.20 per GiB and month" in form.text
    assert 'data-price-per-gib="200000"' in form.source
    asked = await browse("storage/new", "ada", form=MODELS | {"do": "price"})
    assert asked.status == 200
    assert "$4.00 a month" in asked.text
    assert 'value="models"' in asked.source
    assert await volume(service, "models") is None
    half = await browse("storage/new", "ada", form=MODELS | {"name": "", "do": "price", "size": "1Ti"})
    assert (half.status, "$204.80 a month" in half.text) == (200, True)


WRONG = {
    "name": ({"name": "Data Sets"}, "lower-case letters"),
    "size": ({"size": "50"}, "unit"),
    "mount_path": ({"mount_path": "/home/jovyan"}, "workspace volume"),
    "cluster": ({"cluster": "moon"}, ""),
    "teams": ({"team-vision": "all"}, "read and write"),
    "title": ({"title": "a\u202eb"}, "plain text"),
}


@pytest.mark.parametrize("field", WRONG)
async def test_a_mistake_comes_back_at_its_field_with_the_form_as_it_was(service, browse, field):
    typed, words = WRONG[field]
    page = await browse("storage/new", "ada", form=MODELS | {"title": "Our models"} | typed)
    assert page.status == 400
    assert words in field_error(page, field)
    assert field_error(page, field).endswith(".")
    wanted = {"name": "models", "title": "Our models", "size": "20Gi"} | typed
    for name in ("name", "title", "size"):
        assert f'name="{name}" type="text" value="{wanted[name]}"' in page.source
    assert await volume(service, "models") is None


async def test_what_is_missing_is_asked_for(browse):
    for field in ("name", "size"):
        page = await browse("storage/new", "ada", form=MODELS | {field: " "})
        assert (page.status, field_error(page, field)[:6]) == (400, "Write ")


async def test_a_name_that_is_taken_is_told_at_the_name(browse, make):
    await make(MODELS)
    page = await browse("storage/new", "ada", form=MODELS | {"size": "30Gi"})
    assert page.status == 409
    assert "there is a volume models already" in field_error(page, "name")


async def test_nobody_makes_what_is_not_theirs(service, browse):
    for who, form in (("mia", MODELS), ("vic", CHECKPOINTS), ("zoe", CHECKPOINTS)):
        assert (await browse("storage/new", who, form=form)).status in (403, 404)
    only_own = await browse("storage/new", "max", form=CHECKPOINTS | {"team-vision": "", "team-speech": "rw"})
    assert only_own.status in (400, 403)
    assert await volume(service, "checkpoints") is None
    assert await volume(service, "models") is None


@pytest.mark.offer("opening: 50", "opening: 0")
async def test_without_credits_it_is_said_instead_of_offered(browse):
    page = await browse("storage", "ada")
    assert "No new storage now." in page.text
    assert "storage/new" not in page.source
    refused = await browse("storage/new", "ada", form=MODELS)
    assert refused.status == 402
    assert 'role="alert"' in refused.source


async def test_a_form_without_its_token_changes_nothing(service, browse):
    cookie = cookie_of("ada")
    refused = await browse("storage/new", "", form=MODELS, Cookie=cookie)
    assert refused.status == 403
    assert await volume(service, "models") is None


# -- changing ------------------------------------------------------------------


def change_form(**typed):
    return {"title": "models", "mount_path": "/models", "size": "", "team-vision": "rw", "payer": "vision"} | typed


async def test_a_volume_grows_and_is_called_and_shared_otherwise(service, browse, make):
    await make(MODELS)
    form = change_form(size="40Gi", title="Models of all", **{"team-speech": "ro"})
    done = await browse("storage/acme/models", "ada", form=form)
    assert done.status == 303
    page = await browse(done.headers["Location"].removeprefix(PREFIX), "ada")
    assert "Models of all is changed." in page.text
    assert "$8.00" in row(page, "models")
    found = await volume(service, "models")
    assert (found["size_bytes"], found["teams"]) == (40 * 2**30, {"vision": "rw", "speech": "ro"})


async def test_a_volume_never_shrinks(service, browse, make):
    await make(MODELS)
    assert "never shrink" in (await browse("storage/acme/models", "ada")).text
    page = await browse("storage/acme/models", "ada", form=change_form(size="10Gi"))
    assert page.status == 400
    assert "cannot shrink" in field_error(page, "size")
    assert 'value="10Gi"' in page.source


async def test_a_change_of_nothing_changes_nothing(service, browse, make):
    await make(MODELS)
    before = await volume(service, "models")
    assert (await browse("storage/acme/models", "ada", form=change_form())).status == 303
    assert await volume(service, "models") == before


async def test_a_member_changes_only_what_the_own_team_may(service, browse, make):
    await make(CHECKPOINTS)
    page = await browse("storage/acme/checkpoints", "max")
    assert 'name="team-vision"' in page.source
    assert 'name="team-speech"' not in page.source
    assert "may read only; you are not in this team" in page.text
    form = {"title": "Best", "mount_path": "/best", "size": "", "team-vision": "rw", "team-speech": "rw", "payer": ""}
    assert (await browse("storage/acme/checkpoints", "max", form=form)).status == 303
    found = await volume(service, "checkpoints")
    assert (found["title"], found["teams"]) == ("Best", {"vision": "rw", "speech": "ro"})
    refused = await browse("storage/acme/checkpoints", "tom", form=form)
    assert refused.status == 403
    assert "You may only read checkpoints" in field_error(refused, "teams")
    reads = form | {"team-speech": "ro", "size": "60Gi"}
    assert (await browse("storage/acme/checkpoints", "tom", form=reads)).status == 303
    assert (await volume(service, "checkpoints"))["size_bytes"] == 50 * 2**30


async def test_a_volume_of_vessl_yaml_is_changed_there(service, browse):
    page = await browse("storage/acme/datasets", "ada")
    assert "It comes from vessl.yaml, and is changed and deleted there." in page.text
    assert 'method="post"' not in page.source
    assert "taking it out there" in (await browse("storage/acme/datasets/delete", "ada")).text
    refused = await browse("storage/acme/datasets/delete", "ada", form={})
    assert refused.status == 409
    assert await volume(service, "datasets")


async def test_a_volume_of_others_does_not_exist(browse):
    for path in ("storage/acme/recordings", "storage/acme/recordings/delete", "storage/umbrella/datasets"):
        assert (await browse(path, "max")).status == 404
        assert (await browse(path, "max", form={"title": "x"})).status == 404


# -- deleting ------------------------------------------------------------------


async def test_deleting_asks_first_and_says_what_is_lost(service, browse, make, keep):
    await make(MODELS)
    await keep()
    page = await browse("storage/acme/models/delete", "ada")
    lost = page.text.split("Lost for ever", 1)[1]
    assert "Every file in models , 20 GiB" in lost
    assert "Computer Vision" in lost
    assert "$4.00 a month ends at once" in lost
    assert (await volume(service, "models"))["state"] == "bound"
    done = await browse("storage/acme/models/delete", "ada", form={})
    assert done.status == 303
    page = await browse(done.headers["Location"].removeprefix(PREFIX), "ada")
    assert "models is being deleted and costs nothing any more." in page.text
    assert "Being deleted" in row(page, "models")
    assert "nothing any more" in row(page, "models")
    await keep()
    assert 'id="volume-models"' not in (await browse("storage", "ada")).source


async def test_what_is_mounted_is_not_deleted_and_it_says_by_whom(service, browse, make, keep):
    await make(MODELS)
    await keep()
    await service.run("mia", name="sweep", storage={"models": "/models"})
    page = await browse("storage/acme/models/delete", "ada")
    assert 'method="post"' not in page.source
    assert "sweep · mia" in page.text
    refused = await browse("storage/acme/models/delete", "ada", form={})
    assert refused.status == 409
    assert "Not deleted: 1 workspace mounts models now (sweep)." in refused.text
    assert (await volume(service, "models"))["state"] == "bound"


# -- what people typed -----------------------------------------------------------


async def test_what_a_person_typed_stays_text(service, browse, make):
    await make(CHECKPOINTS, "mia", title=HOSTILE)
    await service.run("mia", name=HOSTILE, storage={"checkpoints": "/c"})
    paths = (
        "storage",
        "storage?saved=made&volume=checkpoints",
        "storage/acme/checkpoints",
        "storage/acme/checkpoints/delete",
    )
    for path in paths:
        page = await browse(path, "mia")
        assert "<script>alert" not in page.source, path
        assert HOSTILE in html.unescape(page.source), path
    for form in (
        CHECKPOINTS | {"name": HOSTILE},
        CHECKPOINTS | {"size": HOSTILE},
        CHECKPOINTS | {"team-vision": HOSTILE},
    ):
        refused = await browse("storage/new", "mia", form=form)
        assert refused.status == 400
        assert "<script>alert" not in refused.source
    assert (await browse("storage?saved=%3Cscript%3E&volume=%3Cscript%3E", "mia")).status == 200


async def test_the_pages_run_no_inline_code(browse, make):
    await make(MODELS)
    for path in ("storage", "storage/new?kind=cluster", "storage/acme/models", "storage/acme/models/delete"):
        page = await browse(path, "ada")
        assert page.status == 200
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page.source), path
        assert page.source.count('aria-current="page"') == 1
