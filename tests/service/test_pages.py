"""The pages over HTTP: real service, real hub authentication, real database; read as a person's browser would."""

from __future__ import annotations

import html
import re

import pytest
from page_parts import HOSTILE, HOUR_MS, cookie_of

from jupyterhub_vessl.service.carrier import Carrier

# -- who may come ------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "new", "credits", "workspaces/" + "0" * 32 + "/terminate", "no-such-page"])
async def test_a_stranger_is_sent_to_the_hub_and_comes_back_to_the_page(browse, path):
    page = await browse(path, who="")
    assert page.status == 302
    assert page.headers["Location"].startswith("/hub/api/oauth2/authorize?")
    assert "service-vessl-oauth-state" in page.headers["Set-Cookie"]


async def test_a_script_that_is_signed_out_is_refused_and_not_sent_away(browse):
    page = await browse("", who="", **{"Sec-Fetch-Mode": "cors"})
    assert page.status == 403


async def test_a_token_for_a_notebook_does_not_open_the_pages(browse):
    page = await browse("", who="notebook-mia")
    assert page.status == 403
    assert "not allowed to use this service" in page.text


async def test_a_form_with_a_cookie_but_without_its_token_changes_nothing(service, browse):
    _, workspace_id = await service.run("mia")
    cookie = cookie_of("mia")
    page = await browse("", who="", Cookie=cookie)
    assert page.status == 200
    action = f"workspaces/{workspace_id}/pause"
    refused = await browse(action, who="", form={"scope": "mine"}, Cookie=cookie)
    assert refused.status == 403
    forged = await browse(action, who="", form={"_xsrf": "x"}, Cookie=f"{cookie}; _xsrf=x")
    assert forged.status == 403
    _, view = await service.call("GET", f"workspaces/{workspace_id}", "mia")
    assert view["actions"] == ["open", "pause", "terminate"]


async def test_a_form_from_the_page_itself_is_accepted_once_signed_in(service, browse):
    _, workspace_id = await service.run("mia")
    cookie = cookie_of("mia")
    page = await browse("", who="", Cookie=cookie)
    token = re.search(r'name="_xsrf" value="([^"]+)"', page.source)[1]
    assert f"_xsrf={token}" in page.headers["Set-Cookie"]
    done = await browse(
        f"workspaces/{workspace_id}/pause", who="", form={"_xsrf": token}, Cookie=f"{cookie}; _xsrf={token}"
    )
    assert (done.status, done.headers["Location"]) == (303, "/services/vessl/")


async def test_pages_run_no_inline_code_and_are_not_kept_or_framed(browse):
    page = await browse("")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page.source)


async def test_style_and_script_are_served_to_the_page(service, browse):
    page = await browse("")
    for path in re.findall(r'"/services/vessl/(static/[^"]+)"', page.source):
        async with service.session.get(service.url + path) as answer:
            assert answer.status == 200, path
    assert "static/pages.js" in page.source


# -- Workspaces --------------------------------------------------------------


async def test_a_row_shows_the_same_numbers_as_the_api_to_the_micro(service, browse, clock):
    _, workspace_id = await service.run("mia", name="llama")
    clock.ms += 3 * HOUR_MS + 12 * 60_000 + 1
    page = await browse("")
    _, view = await service.call("GET", f"workspaces/{workspace_id}", "mia")
    _, balance = await service.call("GET", "organizations/acme/balance", "mia")
    assert page.micros(f"workspace-{workspace_id}")[:2] == [view["rate_micros_per_hour"], view["spent_micros"]]
    assert page.micros("vessl-pill")[0] == balance["balance_micros"]
    assert "Running 3 h 12 min" in page.text
    assert f'href="{view["url"]}"' in page.row(workspace_id)


async def test_what_a_person_typed_stays_text(service, browse):
    _, workspace_id = await service.run("mia", name=HOSTILE)
    page = await browse("")
    assert "<script>alert" not in page.source
    assert HOSTILE in html.unescape(page.row(workspace_id))
    page = await browse("?q=" + "%3Cscript%3Ealert(1)%22%3E")
    assert "<script>alert" not in page.source
    farewell = await browse(f"workspaces/{workspace_id}/terminate")
    assert "<script>alert" not in farewell.source


async def test_a_paused_workspace_says_why_what_is_kept_and_what_now(service, browse):
    admission_id, workspace_id = await service.run("mia", storage={"datasets": "/data"})
    done = await browse(f"workspaces/{workspace_id}/pause", form={})
    assert done.status == 303
    assert "It is being paused by mia" in (await browse("")).text
    await service.ended(admission_id)
    page = await browse("")
    assert "by mia. Your files in Home and datasets are kept; /scratch is gone. Resume when you like." in page.text
    row = page.row(workspace_id)
    assert f"workspaces/{workspace_id}/start" in row
    assert 'href="/hub/spawn/mia"' in row
    assert "/pause" not in row


async def test_a_restart_for_want_of_memory_stands_at_the_row_until_the_workspace_ends(service, browse):
    admission_id, workspace_id = await service.run("mia", name="llama & co")
    report = {"kind": "out-of-memory", "restarts": 1}
    await service.call("POST", f"admissions/{admission_id}/notice", "spawner", report)
    row = (await browse("")).row(workspace_id)
    assert "fa-triangle-exclamation" in row
    assert "Next larger: CPU medium with 6 GiB, +$0.06/h." in row
    assert 'data-news="llama &amp; co: Running. It needed more than 2 GiB' in row
    await service.ended(admission_id, reason="out_of_memory")
    row = (await browse("")).row(workspace_id)
    assert ": it needed more than 2 GiB of memory. Next larger: CPU medium with 6 GiB, +$0.06/h." in row
    assert "fa-triangle-exclamation" not in row


async def test_resuming_asks_the_hub_and_comes_back_to_the_list(service, browse):
    admission_id, workspace_id = await service.run("mia", "two")
    await service.ended(admission_id)
    done = await browse(f"workspaces/{workspace_id}/start", form={"q": "a b"})
    assert (done.status, done.headers["Location"]) == (303, "/services/vessl/?q=a+b")
    assert ("POST", "mia/two") in service.hub.calls


async def test_a_start_is_cancelled_from_the_list(service, browse):
    _, admission = await service.admit("mia", "two", spec="cpu-small", team="vision")
    workspace_id = admission["plan"]["workspace_id"]
    row = (await browse("")).row(workspace_id)
    assert 'href="/hub/spawn-pending/mia/two"' in row
    done = await browse(f"workspaces/{workspace_id}/cancel", form={})
    assert done.status == 303
    await service.ended(admission["admission_id"], reason="failed")
    assert "Cancelled by mia before it started." in (await browse("")).text


async def test_a_refused_action_is_explained_at_its_row(service, browse):
    _, workspace_id = await service.run("mia")
    page = await browse(f"workspaces/{workspace_id}/start", form={})
    assert page.status == 409
    row = page.row(workspace_id)
    assert 'role="alert"' in row
    assert "This workspace is running." in row


async def test_a_hub_that_does_not_answer_is_named_and_nothing_is_changed(service, browse):
    admission_id, workspace_id = await service.run("mia")
    await service.ended(admission_id)
    await browse("")  # the hub's word on who this is, is believed for a while
    service.hub.down = True
    page = await browse(f"workspaces/{workspace_id}/start", form={})
    assert page.status == 503
    assert "The hub does not answer, so nothing was started or stopped." in page.text


async def test_a_page_without_the_hub_says_so(service, browse):
    service.hub.down = True
    page = await browse("")
    assert page.status == 503
    assert "The hub does not answer" in page.text


async def test_another_persons_workspace_does_not_exist(service, browse):
    _, workspace_id = await service.run("tom")
    assert workspace_id not in (await browse("")).source
    for action in ("start", "pause", "cancel", "terminate"):
        assert (await browse(f"workspaces/{workspace_id}/{action}", form={})).status == 404
    assert (await browse(f"workspaces/{workspace_id}/terminate")).status == 404
    _, view = await service.call("GET", f"workspaces/{workspace_id}", "tom")
    assert view["state"] == "running"
    assert view["actions"]


async def test_managers_see_their_team_and_admins_everything(service, browse):
    _, of_mia = await service.run("mia", name="llama")
    _, of_tom = await service.run("tom", name="whisper")
    team = await browse("?scope=team", who="max")
    assert of_mia in team.source
    assert of_tom not in team.source
    assert "mia · vision" in team.text
    row = team.row(of_mia)
    assert f"workspaces/{of_mia}/pause" in row
    assert f'href="/services/vessl/workspaces/{of_mia}/terminate"' in row
    assert "/user/mia/" not in row
    every = await browse("?scope=all", who="ada")
    assert of_mia in every.source
    assert of_tom in every.source


@pytest.mark.parametrize(("who", "scope", "status"), [("mia", "all", 403), ("max", "all", 403), ("ada", "x", 400)])
async def test_a_list_that_is_not_for_this_person_is_refused(browse, who, scope, status):
    page = await browse(f"?scope={scope}", who=who)
    assert page.status == status
    assert "Whose workspaces" not in page.source


async def test_searching_narrows_the_list_and_keeps_the_words_in_the_field(service, browse):
    _, llama = await service.run("mia", name="llama")
    _, sweep = await service.run("mia", "two", name="sweep")
    page = await browse("?q=sweep")
    assert sweep in page.source
    assert llama not in page.source
    assert 'value="sweep"' in page.source


async def test_a_viewer_reads_and_finds_nothing_to_press(browse):
    page = await browse("", who="vic")
    assert page.status == 200
    assert "/new" not in page.source
    assert 'method="post"' not in page.source
    assert (await browse("new", who="vic")).status == 403


async def test_somebody_in_no_team_is_told_whom_to_ask(browse):
    assert "You are in no team yet. Ask ada@acme.example" in (await browse("", who="zoe")).text
    page = await browse("credits", who="zoe")
    assert page.status == 404
    assert "You belong to no organization yet." in page.text


# -- terminating -------------------------------------------------------------


async def test_termination_asks_first_and_says_what_is_lost_and_what_is_kept(service, browse):
    _, workspace_id = await service.run("mia", name="llama", storage={"datasets": "/data"})
    page = await browse(f"workspaces/{workspace_id}/terminate")
    lost, kept = page.text.split("Lost for ever", 1)[1].split("Kept", 1)
    assert "Home , 20 GiB, /home/jovyan" in lost
    assert "/scratch" in lost
    assert "datasets , 100 GiB, /data" in kept
    _, view = await service.call("GET", f"workspaces/{workspace_id}", "mia")
    assert view["message"] == ""


async def test_a_confirmed_termination_is_carried_out_and_shown_apart(service, browse):
    admission_id, workspace_id = await service.run("mia", "two", name="llama")
    done = await browse(f"workspaces/{workspace_id}/terminate", form={})
    assert (done.status, done.headers["Location"]) == (303, "/services/vessl/")
    assert "It is being terminated." in (await browse("")).text
    again = await browse(f"workspaces/{workspace_id}/terminate")
    assert (again.status, again.headers["Location"]) == (303, "/services/vessl/")
    await service.ended(admission_id)
    await Carrier(service.parts.core).carry()
    page = await browse("")
    assert "Terminated lately (1)" in page.text
    assert "by mia." in page.text.split("Terminated lately", 1)[1]
    assert "You have no workspace. Create one" in page.text


# -- new ---------------------------------------------------------------------


async def test_new_leads_to_the_form_of_a_free_server_and_changes_nothing(service, browse):
    assert (await browse("new")).headers["Location"] == "/hub/spawn"
    await service.run("mia")
    await service.run("mia", "workspace-2")
    page = await browse("new")
    assert (page.status, page.headers["Location"]) == (302, "/hub/spawn/mia/workspace-3")
    _, found = await service.call("GET", "workspaces", "mia")
    assert len(found["workspaces"]) == 2


@pytest.mark.parametrize("path", ["credits?organization=other", "credits?organization=%3Cb%3E", "no-such-page"])
async def test_what_does_not_exist_is_a_page_with_a_way_back(browse, path):
    page = await browse(path)
    assert page.status == 404
    assert 'href="/services/vessl/"' in page.source
    assert "<b>" not in page.source


@pytest.mark.parametrize(
    "path", ["?q=" + "x" * 300, "credits?cursor=-1", "credits?cursor=1%27", "credits?cursor=9999999999999999999999"]
)
async def test_nonsense_in_an_address_is_refused_as_a_page(browse, path):
    page = await browse(path)
    assert page.status == 400
    assert "text/html" in page.headers["Content-Type"]
    assert "That did not work" in page.text
