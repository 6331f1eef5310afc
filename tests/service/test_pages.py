"""The pages over HTTP: real service, real hub authentication, real database; read as a person's browser would."""

from __future__ import annotations

import hashlib
import html
import re
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
from tornado.web import create_signed_value

from jupyterhub_vessl.service.carrier import Carrier

HOUR_MS = 3_600_000
COOKIE_SECRET = hashlib.sha256(b"vessl cookies service-token").digest()
HOSTILE = "<script>alert(1)</script>\"'&amp;"


@dataclass
class Page:
    """An answer: status, headers, HTML, and its words as a reader sees them."""

    status: int
    headers: dict[str, str]
    source: str

    @property
    def text(self) -> str:
        words = _Words()
        words.feed(self.source)
        return " ".join(" ".join(words.found).split())

    def micros(self, element_id: str) -> list[int]:
        """Amounts inside an element, in order."""
        part = self.source.split(f'id="{element_id}"', 1)[1]
        return [int(number) for number in re.findall(r'data-micros="(-?\d+)"', part)]

    def row(self, workspace_id: str) -> str:
        return self.source.split(f'id="workspace-{workspace_id}"', 1)[1].split('<li class="vessl-workspace"', 1)[0]


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@pytest.fixture
def browse(service):
    """GET or POST a page with a token; ``form`` makes it a POST.  Redirects are not followed."""

    async def call(path: str, who: str = "mia", *, form: dict[str, str] | None = None, **headers: str) -> Page:
        if who:
            headers["Authorization"] = f"token {who}"
        verb = "GET" if form is None else "POST"
        async with service.session.request(
            verb, service.url + path, headers=headers, data=form, allow_redirects=False
        ) as answer:
            return Page(answer.status, dict(answer.headers), await answer.text())

    return call


def cookie_of(who: str) -> str:
    """What the browser of somebody who signed in through the hub carries."""
    return "service-vessl=" + create_signed_value(COOKIE_SECRET, "service-vessl", who).decode()


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


# -- Credits -----------------------------------------------------------------


async def test_credits_show_the_balance_of_the_api_and_when_it_runs_out(service, browse, clock):
    await service.run("mia")
    clock.ms += 61 * 60_000
    page = await browse("credits")
    _, view = await service.call("GET", "organizations/acme/balance", "mia")
    assert page.micros("vessl-balance")[:2] == [view["balance_micros"], view["rate_micros_per_hour"]]
    exact = f"${view['balance_micros'] // 1_000_000}.{view['balance_micros'] % 1_000_000:06d}"
    assert f'title="{exact}"' in page.source
    assert "At this rate credits are used up by" in page.text
    assert "when the balance reaches −$10.00" in page.text
    assert "To top up, ask ada@acme.example." in page.text


async def test_the_ledger_lists_what_runs_and_what_is_booked(service, browse, clock):
    admission_id, _ = await service.run("mia", name="done")
    clock.ms += HOUR_MS
    await service.ended(admission_id)
    await service.run("mia", "two", name="going on")
    clock.ms += HOUR_MS // 2
    page = await browse("credits", who="ada")
    _, ledger = await service.call("GET", "organizations/acme/ledger", "ada")
    amounts = [line["amount_micros"] for line in ledger["lines"]]
    assert amounts == [-25_000, -50_000, 50_000_000]
    assert set(amounts) <= set(page.micros("vessl-ledger"))
    text = page.text.split("Ledger", 1)[1]
    assert text.index("running") < text.index("going on") < text.index("done") < text.index("Opening credits")
    assert "Balance" in text


async def test_balances_after_each_movement_are_for_admins(service, browse):
    assert '<th scope="col" class="text-end">Balance</th>' in (await browse("credits", who="ada")).source
    assert '<th scope="col" class="text-end">Balance</th>' not in (await browse("credits")).source


async def test_a_long_ledger_is_turned_page_by_page_and_back(service, browse):
    for number in range(120):
        body = {"amount": "1", "reference": f"INV-{number:03d}"}
        assert (await service.call("POST", "organizations/acme/top-ups", "ada", body))[0] == 201

    def link(page: Page, title: str) -> str:
        return html.unescape(re.search(rf'href="/services/vessl/([^"]+)">{title}<', page.source)[1])

    first = await browse("credits")
    second = await browse(link(first, "Older"))
    third = await browse(link(second, "Older"))
    seen = [re.findall(r"Payment INV-(\d+)", page.text) for page in (first, second, third)]
    assert [number for numbers in seen for number in numbers] == [f"{n:03d}" for n in range(119, -1, -1)]
    assert ">Older<" not in third.source
    assert ">Newer<" not in first.source
    assert (await browse(link(third, "Newer"))).text == second.text
    assert (await browse(link(second, "Newer"))).text == first.text


async def test_an_admin_tops_up_once_however_often_the_form_is_sent(service, browse):
    form = {"organization": "acme", "amount": " 20.50 ", "reference": "INV-7", "note": "March"}
    done = await browse("credits", who="ada", form=form)
    again = await browse("credits", who="ada", form=form)
    assert (done.status, again.status) == (303, 303)
    assert done.headers["Location"] == again.headers["Location"]
    assert await service.balance_micros() == 70_500_000
    page = await browse(done.headers["Location"].removeprefix("/services/vessl/"), who="ada")
    assert "+$20.50 recorded. March" in page.text


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"amount": ""}, "amount", "Write the amount that was paid"),
        ({"amount": "0.5"}, "amount", "A top-up is at least $1.00."),
        ({"amount": "-3"}, "amount", "A top-up is more than 0."),
        ({"amount": "99999999999"}, "amount", "may not exceed"),
        ({"amount": "twenty"}, "amount", "An amount is written as a number"),
        ({"reference": ""}, "reference", "Write the number of the invoice or payment."),
        ({"reference": "a\nb"}, "reference", "Use one line of plain text"),
        ({"reference": "x" * 500}, "reference", "Use at most 120 characters."),
        ({"note": "{x}"}, "note", "Use plain text without"),
    ],
)
async def test_a_wrong_top_up_comes_back_with_the_reason_at_its_field(service, browse, changes, field, sentence):
    form = {"organization": "acme", "amount": "20", "reference": "INV-7", "note": "keep <me>"} | changes
    page = await browse("credits", who="ada", form=form)
    assert page.status == 400
    error = page.source.split(f'id="vessl-{field}-error"', 1)[1].split("</p>", 1)[0]
    assert sentence in html.unescape(error)
    assert f'aria-describedby="vessl-{field}-error ' in page.source
    if field != "note":
        assert 'value="keep &lt;me&gt;"' in page.source
    assert await service.balance_micros() == 50_000_000


async def test_a_reference_used_for_something_else_is_refused_at_its_field(service, browse):
    form = {"organization": "acme", "amount": "20", "reference": "INV-7"}
    await browse("credits", who="ada", form=form)
    page = await browse("credits", who="ada", form=form | {"amount": "21"})
    assert page.status == 409
    assert 'role="alert"' in page.source
    assert await service.balance_micros() == 70_000_000


@pytest.mark.parametrize("who", ["mia", "max", "vic"])
async def test_nobody_but_an_admin_can_top_up(service, browse, who):
    assert "Invoice or payment number" not in (await browse("credits", who=who)).text
    page = await browse("credits", who=who, form={"organization": "acme", "amount": "20", "reference": "INV-7"})
    assert page.status == 403
    assert "Only an admin of the organization can top up." in page.text
    assert await service.balance_micros() == 50_000_000


async def test_a_balance_below_zero_is_said_in_words(service, browse, clock):
    await service.run("mia")
    clock.ms += 1010 * HOUR_MS
    page = await browse("credits")
    assert 'data-tone="below"' in page.source
    assert "−$0.50" in page.text
    assert "below zero: no workspace can start until somebody tops up" in page.text


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
