"""What the pages say, from the service's answers: pure, so every state can be put on the table."""

from __future__ import annotations

import pytest

from jupyterhub_vessl.model.identity import principal_from_groups
from jupyterhub_vessl.model.lifecycle import State
from jupyterhub_vessl.model.plan import Mount, MountKind
from jupyterhub_vessl.model.wire import CreditsView, LedgerLine, LedgerPage, WorkspaceList, WorkspaceView
from jupyterhub_vessl.service.pages.credits_view import credits_page, forecasts, ledger_row
from jupyterhub_vessl.service.pages.topbar import pill
from jupyterhub_vessl.service.pages.words import duration, instant
from jupyterhub_vessl.service.pages.workspace_view import farewell, free_server_name, row, scopes_of, workspaces_page

NOW_MS = 1_800_000_000_000  # Friday 2027-01-15 08:00:00 UTC
HOUR_MS = 3_600_000
MIA = principal_from_groups("mia", ["vessl:acme:vision:member"])
MAX = principal_from_groups("max", ["vessl:acme:vision:manager"])
ADA = principal_from_groups("ada", ["vessl:acme:admin"])
VIC = principal_from_groups("vic", ["vessl:acme:vision:viewer"])
MOUNTS = (
    Mount(kind=MountKind.WORKSPACE, mount_path="/home/jovyan", size_bytes=20 * 2**30, rate_micros_per_hour=2_740),
    Mount(kind=MountKind.TEMPORARY, mount_path="/scratch", size_bytes=2 * 2**30),
    Mount(kind=MountKind.CLUSTER, mount_path="/data", size_bytes=100 * 2**30, volume="datasets"),
)


def credits(**changes: object) -> CreditsView:
    values: dict[str, object] = {
        "organization": "acme",
        "title": "Acme Research",
        "currency": "USD",
        "contact": "ada@acme.example",
        "balance_micros": 41_200_000,
        "rate_micros_per_hour": 2_390_000,
        "buffer_micros": 10_000_000,
        "minimum_top_up_micros": 1_000_000,
        "empty_ms": NOW_MS + 17 * HOUR_MS,
        "pause_ms": NOW_MS + 30 * HOUR_MS,
        "at_ms": NOW_MS,
    }
    return CreditsView.model_validate(values | changes)


def workspace(**changes: object) -> WorkspaceView:
    values: dict[str, object] = {
        "id": "0" * 32,
        "user": "mia",
        "server_name": "",
        "title": "notebook",
        "organization": "acme",
        "team": "vision",
        "currency": "USD",
        "cluster": "laptop",
        "cluster_title": "This machine",
        "spec": "cpu-small",
        "spec_title": "CPU small",
        "image_title": "SciPy",
        "state": State.RUNNING,
        "since_ms": NOW_MS - 3 * HOUR_MS - 12 * 60_000,
        "created_ms": NOW_MS - 5 * HOUR_MS,
        "rate_micros_per_hour": 50_000,
        "spent_micros": 160_001,
        "lasts_until_ms": NOW_MS + 30 * HOUR_MS,
        "mounts": MOUNTS,
        "url": "/user/mia/",
        "actions": ("open", "pause", "terminate"),
    }
    return WorkspaceView.model_validate(values | changes)


def row_of(view: WorkspaceView, principal=MIA, *, with_owner: bool = False):
    return row(view, principal, now_ms=NOW_MS, with_owner=with_owner, base_url="/", prefix="/services/vessl/")


def page_of(*found: WorkspaceView, principal=MIA, scope: str = "mine", search: str = ""):
    listed = WorkspaceList(workspaces=found, at_ms=NOW_MS)
    return workspaces_page(
        listed, principal, scope=scope, search=search, base_url="/", prefix="/services/vessl/", contact="ada"
    )


@pytest.mark.parametrize(
    ("away_ms", "text"),
    [
        (60_000, "08:01 UTC"),
        (17 * HOUR_MS, "Sat 01:00 UTC"),
        (-6 * 24 * HOUR_MS, "9 Jan 08:00 UTC"),
        (400 * 24 * HOUR_MS, "19 Feb 2028"),
    ],
)
def test_an_instant_is_as_short_as_it_can_be_and_exact_beside_it(away_ms, text):
    shown = instant(NOW_MS + away_ms, NOW_MS)
    assert shown.text == text
    assert shown.title.endswith(" UTC")
    assert shown.iso.endswith("Z")


def test_a_clock_that_is_behind_gives_no_negative_duration():
    assert duration(NOW_MS, NOW_MS - 5000) == "0 s"


def test_a_running_workspace_shows_price_spending_and_how_long_it_lasts():
    shown = row_of(workspace())
    assert (shown.word, shown.lasted) == ("Running", "3 h 12 min")
    assert shown.price is not None
    assert shown.price.micros == 50_000 + 2_740
    assert (shown.spent.text, shown.spent.exact) == ("$0.16", "$0.160001")
    assert shown.until == instant(NOW_MS + 30 * HOUR_MS, NOW_MS)


@pytest.mark.parametrize(
    ("state", "message", "word", "why"),
    [
        (State.PAUSED, "Credits reached −$10.00. Resume.", "Paused", ": credits reached −$10.00. Resume."),
        (State.PAUSED, "Paused by max. Your files are kept.", "Paused", " by max. Your files are kept."),
        (State.FAILED, "It did not start: no disk.", "Failed", ": it did not start: no disk."),
        (State.FAILED, "Cancelled by mia before it started.", "Cancelled", "Cancelled by mia before it started."),
        (State.TERMINATED, "Terminated by ada.", "Terminated", " by ada."),
        (State.RUNNING, "It is being paused: Paused by mia. Wait.", "Running", "It is being paused by mia. Wait."),
        (State.PAUSED, "", "Paused", ""),
    ],
)
def test_the_reason_reads_on_after_the_state(state, message, word, why):
    shown = row_of(workspace(state=state, message=message, actions=()))
    assert (shown.word, shown.why) == (word, why)


def test_a_paused_workspace_costs_its_storage_only_and_says_so():
    shown = row_of(workspace(state=State.PAUSED, actions=("start", "edit", "terminate")))
    assert shown.price is not None
    assert (shown.price.micros, shown.price_note) == (2_740, "storage")
    assert shown.until is None
    free = row_of(workspace(state=State.PAUSED, mounts=()))
    assert (free.price, free.price_note) == (None, "free")


def test_only_allowed_actions_become_buttons_and_links_lead_to_the_hub():
    shown = row_of(workspace(state=State.PAUSED, server_name="two", actions=("start", "edit", "terminate")))
    assert [(b.title, b.name, b.href) for b in shown.buttons] == [
        ("Resume", "start", ""),
        ("Edit", "edit", "/hub/spawn/mia/two"),
        ("Terminate…", "terminate", f"/services/vessl/workspaces/{'0' * 32}/terminate"),
    ]
    assert row_of(workspace(actions=())).buttons == ()


def test_a_name_that_is_not_plain_is_quoted_in_links():
    view = workspace(user="m/ia ?", state=State.PENDING, actions=("cancel",))
    mine = principal_from_groups("m/ia ?", ["vessl:acme:vision:member"])
    assert row_of(view, mine).buttons[0].href == "/hub/spawn-pending/m%2Fia%20%3F"


def test_progress_of_a_start_is_for_its_owner():
    view = workspace(state=State.PENDING, actions=("cancel",))
    assert [b.title for b in row_of(view).buttons] == ["See progress", "Cancel the start"]
    assert [b.title for b in row_of(view, MAX).buttons] == ["Cancel the start"]


def test_what_is_asked_but_not_done_is_looked_at_more_often():
    assert row_of(workspace(actions=())).changing
    assert row_of(workspace(state=State.PENDING, actions=("cancel",))).changing
    assert not row_of(workspace()).changing
    assert not row_of(workspace(state=State.TERMINATED, actions=())).changing


def test_managers_and_admins_may_look_further_than_their_own():
    assert scopes_of(MIA) == ("mine",)
    assert scopes_of(VIC) == ("mine",)
    assert scopes_of(MAX) == ("mine", "team")
    assert scopes_of(ADA) == ("mine", "all")


def test_a_search_finds_rows_that_hold_every_word():
    found = (workspace(title="fine-tune llama"), workspace(id="1" * 32, title="sweep", user="max"))
    assert [r.title for r in page_of(*found, search="LLAMA small").rows] == ["fine-tune llama"]
    assert [r.title for r in page_of(*found, search="max").rows] == ["sweep"]
    assert "matches “nothing”" in page_of(*found, search="nothing").empty


def test_terminated_workspaces_stand_apart_and_leave_the_list_empty():
    shown = page_of(workspace(state=State.TERMINATED, actions=()))
    assert shown.rows == ()
    assert len(shown.terminated) == 1
    assert "Create one" in shown.empty


def test_an_empty_list_says_what_to_do_first_to_each_person():
    assert "Create one" in page_of().empty
    assert "Ask ada for the role of a member" in page_of(principal=VIC).empty
    assert not page_of(principal=VIC).may_create
    assert "in no team yet" in page_of(principal=principal_from_groups("zoe", [])).empty
    assert "Nobody" in page_of(principal=ADA, scope="all").empty


def test_termination_names_every_volume_on_the_right_side():
    shown = farewell(workspace(), MIA)
    assert [(v.title, v.size, v.mount_path) for v in shown.lost] == [
        ("Home", "20 GiB", "/home/jovyan"),
        ("Temporary storage", "2 GiB", "/scratch"),
    ]
    assert [(v.title, v.mount_path) for v in shown.kept] == [("datasets", "/data")]
    assert shown.owner == ""
    assert farewell(workspace(), MAX).owner == "mia"


@pytest.mark.parametrize(
    ("taken", "free"),
    [
        ([], ""),
        ([("", State.TERMINATED)], ""),
        ([("", State.PAUSED)], "workspace-2"),
        ([("", State.RUNNING), ("workspace-2", State.FAILED), ("workspace-4", State.PAUSED)], "workspace-3"),
    ],
)
def test_a_new_workspace_takes_the_first_free_server(taken, free):
    assert free_server_name([workspace(server_name=name, state=state) for name, state in taken]) == free


def test_the_bar_warns_in_words_and_is_red_only_below_zero():
    plenty = pill(credits())
    assert (plenty.tone, plenty.warning) == ("", "")
    low = pill(credits(pause_ms=NOW_MS + 5 * HOUR_MS))
    assert (low.tone, low.warning) == ("low", "only 5 h left")
    below = pill(credits(balance_micros=-1, empty_ms=NOW_MS))
    assert (below.tone, below.warning) == ("below", "below zero")
    idle = pill(credits(rate_micros_per_hour=0, empty_ms=None, pause_ms=None))
    assert (idle.rate, idle.until, idle.tone) == (None, None, "")


def said(view: CreditsView) -> str:
    return " ".join(f"{f.before}{f.at.text if f.at else ''}{f.after}" for f in forecasts(view))


def test_the_forecast_tells_when_credits_are_used_up_and_when_work_is_paused():
    text = said(credits())
    assert "used up by Sat 01:00 UTC (in 17 h)" in text
    assert "when the balance reaches −$10.00: Sat 14:00 UTC (in 30 h)" in text


def test_a_balance_at_or_below_zero_is_explained():
    assert "used up: no workspace can start" in said(credits(balance_micros=0, empty_ms=NOW_MS))
    below = said(credits(balance_micros=-2_100_000, empty_ms=NOW_MS))
    assert "below zero: no workspace can start until somebody tops up" in below
    assert "used up by" not in below
    floor = said(credits(balance_micros=-10_000_000, empty_ms=NOW_MS, pause_ms=NOW_MS))
    assert "being paused" in floor


def test_credits_that_nothing_uses_up_have_no_date():
    assert said(credits(rate_micros_per_hour=0, empty_ms=None, pause_ms=None)) == "Nothing is billed just now."
    assert "more than ten years" in said(credits(empty_ms=NOW_MS + 10**15, pause_ms=NOW_MS + 10**15))
    assert "what is billed is storage" in said(credits(pause_ms=None))


def line(**changes: object) -> LedgerLine:
    values: dict[str, object] = {
        "id": "a" * 32,
        "at_ms": NOW_MS - HOUR_MS,
        "kind": "usage",
        "amount_micros": -50_001,
        "balance_micros": 41_200_000,
        "actor": "service",
        "reason": "out_of_memory",
        "team": "vision",
        "user": "mia",
        "workspace_title": "notebook",
        "from_ms": NOW_MS - 2 * HOUR_MS,
        "to_ms": NOW_MS - HOUR_MS,
        "rate_micros_per_hour": 50_001,
    }
    return LedgerLine.model_validate(values | changes)


def test_a_movement_says_who_what_how_long_and_why_and_keeps_its_micros():
    shown = ledger_row(line(), "USD", NOW_MS)
    assert (shown.what, shown.about, shown.who, shown.lasted) == ("notebook", "out of memory", "mia · vision", "1 h")
    assert (shown.amount.text, shown.amount.exact, shown.amount.micros) == ("−$0.05", "−$0.050001", -50_001)
    top_up = ledger_row(line(kind="top-up", amount_micros=20_000_000, actor="ada", reason="March"), "USD", NOW_MS)
    assert (top_up.amount.text, top_up.who, top_up.about) == ("+$20.00", "ada · vision", "March")


def test_usage_that_goes_on_is_marked_in_words():
    running = ledger_row(line(open=True, to_ms=None, reason="running", balance_micros=None), "USD", NOW_MS)
    stored = ledger_row(line(open=True, to_ms=None, reason="stored", balance_micros=None), "USD", NOW_MS)
    assert (running.running, stored.running) == ("running", "stored")
    assert running.lasted == "2 h"
    assert running.span is not None
    assert running.span[1] is None


def page_at(cursor: str | None, trail: str, following: str | None):
    ledger = LedgerPage(lines=(), next=following, at_ms=NOW_MS)
    return credits_page(credits(), (credits(),), ledger, ADA, cursor=cursor, trail=trail)


def test_pages_of_the_ledger_lead_back_the_way_they_came():
    first = page_at(None, "", "90")
    assert (first.newer, first.older) == (None, "cursor=90&trail=")
    second = page_at("90", "", "40")
    assert (second.newer, second.older) == ("", "cursor=40&trail=90")
    third = page_at("40", "90", None)
    assert (third.newer, third.older) == ("cursor=90&trail=", None)


def test_a_trail_that_is_not_ours_leads_to_the_newest_page():
    assert page_at("40", "<script>.x", "3").newer == ""


def test_members_are_told_whom_to_ask_and_admins_are_not():
    ledger = LedgerPage(lines=(), at_ms=NOW_MS)
    assert credits_page(credits(), (), ledger, MIA).ask == "ada@acme.example"
    assert credits_page(credits(), (), ledger, ADA).ask == ""
