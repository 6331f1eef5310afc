"""What the pages say, from the service's answers: pure, so every state can be put on the table."""

from __future__ import annotations

import pytest

from jupyterhub_vessl.model.funds import Applies
from jupyterhub_vessl.model.identity import principal_from_groups
from jupyterhub_vessl.model.lifecycle import State
from jupyterhub_vessl.model.plan import Mount, MountKind
from jupyterhub_vessl.model.wire import WorkspaceList, WorkspaceView
from jupyterhub_vessl.model.wire_credits import (
    BudgetList,
    BudgetRequest,
    BudgetView,
    CreditsView,
    GrantRequest,
    GrantView,
    LedgerLine,
    LedgerPage,
    LimitsView,
    UseView,
)
from jupyterhub_vessl.model.wire_series import SeriesView
from jupyterhub_vessl.service.pages.budgets_view import budget_values, budgets_view
from jupyterhub_vessl.service.pages.charts_view import charts_view
from jupyterhub_vessl.service.pages.credits_query import CreditsQuery
from jupyterhub_vessl.service.pages.credits_view import credits_page, ending, forecasts, ledger_row
from jupyterhub_vessl.service.pages.grants_view import grant_body, grant_row, pays_for
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


def test_what_happened_to_a_workspace_that_goes_on_is_a_warning_until_it_is_being_stopped():
    happened = "It needed more than 2 GiB of memory and was restarted; what was not saved is gone."
    shown = row_of(workspace(message=happened))
    assert (shown.warning, shown.why) == (happened, "")
    assert row_of(workspace(message="It is being paused: Credits ran out.", actions=())).warning == ""
    assert row_of(workspace(state=State.PAUSED, message=happened)).warning == ""
    assert row_of(workspace()).warning == ""


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
    low = pill(credits(pause_ms=NOW_MS + 5 * HOUR_MS, tone="low", warning="only 5 h left"))
    assert (low.tone, low.warning) == ("low", "only 5 h left")
    below = pill(credits(balance_micros=-1, empty_ms=NOW_MS, tone="below", warning="below zero"))
    assert (below.tone, below.warning) == ("below", "below zero")
    idle = pill(credits(rate_micros_per_hour=0, empty_ms=None, pause_ms=None))
    assert (idle.rate, idle.until, idle.tone) == (None, None, "")


def said(view: CreditsView) -> str:
    return " ".join(f"{f.before}{f.at.text if f.at else ''}{f.after}" for f in forecasts(view))


def test_the_forecast_tells_when_credits_are_used_up_and_when_work_is_paused():
    text = said(credits())
    assert "run out on Saturday, 16 January, 01:00 UTC, in 17 h." in text
    assert "when the balance reaches −$10.00: Sat 14:00 UTC (in 30 h)" in text
    assert [line.large for line in forecasts(credits())] == [True, False]


def test_a_balance_at_or_below_zero_is_explained():
    assert "used up: no workspace can start" in said(credits(balance_micros=0, empty_ms=NOW_MS))
    below = said(credits(balance_micros=-2_100_000, empty_ms=NOW_MS))
    assert "below zero: no workspace can start until somebody tops up" in below
    assert "run out on" not in below
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


def page_at(cursor: str, trail: str, following: str | None):
    ledger = LedgerPage(lines=(), next=following, at_ms=NOW_MS)
    query = CreditsQuery(organization="acme", days="7", team="vision", cursor=cursor, trail=trail)
    return credits_page(credits(), (credits(),), ledger, ADA, query)


def test_pages_of_the_ledger_lead_back_the_way_they_came_and_keep_what_is_chosen():
    here = "credits?organization=acme&days=7&team=vision"
    first = page_at("", "", "90")
    assert (first.newer, first.older) == (None, f"{here}&cursor=90")
    second = page_at("90", "", "40")
    assert (second.newer, second.older) == (here, f"{here}&cursor=40&trail=90")
    third = page_at("40", "90", None)
    assert (third.newer, third.older) == (f"{here}&cursor=90", None)


def test_a_trail_that_is_not_ours_leads_to_the_newest_page():
    assert "cursor" not in page_at("40", "<script>.x", "3").newer


def test_members_are_told_whom_to_ask_and_admins_are_not():
    ledger = LedgerPage(lines=(), at_ms=NOW_MS)
    query = CreditsQuery(organization="acme")
    assert credits_page(credits(), (), ledger, MIA, query).ask == "ada@acme.example"
    assert credits_page(credits(), (), ledger, ADA, query).ask == ""


def test_what_is_lost_is_said_before_workspaces_are_terminated():
    assert ending(credits(balance_micros=-1)) is None
    soon = ending(credits(balance_micros=-1, terminate_ms=NOW_MS + 3 * HOUR_MS))
    assert soon is not None
    assert soon.at is not None
    assert (soon.at.text, soon.after[:10]) == ("Friday, 15 January, 11:00 UTC", ", in 3 h. ")
    assert "Lost then: what is in their homes" in soon.after
    dry = ending(credits(balance_micros=-1, terminate_ms=NOW_MS + HOUR_MS, dry_run=True))
    assert dry is not None
    assert "nothing is really paused or terminated" in dry.after


@pytest.mark.parametrize(
    ("changes", "what", "about"),
    [
        ({"kind": "grant", "reason": "Winter school"}, "Grant", "Winter school"),
        ({"kind": "expiry", "reason": "expired"}, "Expired grant", "expired"),
        ({"kind": "void", "reason": "taken back"}, "Grant taken back", "taken back"),
        ({"kind": "refund", "reason": "Refund of INV-1"}, "Refund", "Refund of INV-1"),
        ({"kind": "correction", "reason": "it had ended before"}, "notebook", "correction: it had ended before"),
        ({"item": "cluster/datasets", "workspace_title": "", "reason": "settled"}, "Storage: datasets", "booked while"),
        ({"item": "workspace", "reason": "terminated"}, "notebook", "storage, terminated"),
    ],
)
def test_every_kind_of_movement_has_words(changes, what, about):
    shown = ledger_row(line(**changes), "USD", NOW_MS)
    assert shown.what == what
    assert shown.about.startswith(about)


def test_only_top_ups_can_be_given_back_and_only_by_admins():
    top_up = line(kind="top-up", source="INV 7&8")
    assert ledger_row(top_up, "USD", NOW_MS, refund_of="acme").refund == (
        "credits/refund?organization=acme&top_up=INV+7%268"
    )
    assert ledger_row(top_up, "USD", NOW_MS).refund == ""
    assert ledger_row(line(), "USD", NOW_MS, refund_of="acme").refund == ""


def series(**changes: object) -> SeriesView:
    day_ms = 24 * HOUR_MS
    today_ms = NOW_MS - 8 * HOUR_MS
    values: dict[str, object] = {
        "organization": "acme",
        "currency": "USD",
        "past": [
            {"at_ms": today_ms - day_ms, "balance_micros": 50_000_000},
            {"at_ms": NOW_MS, "balance_micros": 41_200_000},
        ],
        "ahead": [
            {"at_ms": NOW_MS, "balance_micros": 41_200_000},
            {"at_ms": NOW_MS + day_ms, "balance_micros": -10_000_000},
        ],
        "buffer_micros": 10_000_000,
        "by": "team",
        "days_ms": [today_ms - n * day_ms for n in range(6, -1, -1)],
        "burn": [
            {"name": "vision", "title": "<Vision>", "day_micros": [0] * 6 + [6_600_000], "total_micros": 6_600_000},
            {"name": "speech", "title": "Speech", "day_micros": [0] * 5 + [2_200_000, 0], "total_micros": 2_200_000},
        ],
        "at_ms": NOW_MS,
    }
    return SeriesView.model_validate(values | changes)


def charts_of(view: SeriesView, **roles: bool):
    query = CreditsQuery(organization="acme", days="7", kind="usage")
    return charts_view(view, query, **({"admin": False, "manager": False} | roles))


def test_a_chart_is_also_a_sentence_and_a_table():
    shown = charts_of(series(), admin=True)
    assert shown.balance_about == "$50.00 32 h ago, $41.20 now, and at the present rate −$10.00 in 24 h."
    assert shown.burn_about == "$8.80 in 7 days: <Vision> $6.60, Speech $2.20."
    assert [(balance.text, word) for _, balance, word in shown.balances] == [
        ("−$10.00", "forecast"),
        ("$41.20", "now"),
        ("$50.00", ""),
    ]
    assert [(row.title, row.total.text, row.share) for row in shown.rows] == [
        ("<Vision>", "$6.60", "75 %"),
        ("Speech", "$2.20", "25 %"),
    ]


def test_days_before_the_books_began_are_left_out_of_the_chart():
    shown = charts_of(series())
    assert shown.days == ("14 Jan", "15 Jan")
    assert [len(group["days"]) for group in shown.data["groups"]] == [2, 2]
    assert [len(row.days) for row in shown.rows] == [2, 2]


def test_the_tabs_of_the_charts_keep_what_else_is_chosen():
    shown = charts_of(series(), manager=True)
    assert [title for title, _, _ in shown.divisions] == ["By team", "By spec", "By person"]
    assert all("kind=usage" in href for tabs in (shown.ranges, shown.divisions, shown.shows) for _, href, _ in tabs)
    assert [title for title, _, current in shown.ranges if current] == ["7 days"]
    assert [title for title, _, _ in charts_of(series()).divisions] == ["By team", "By spec"]


def test_an_empty_chart_says_whose_usage_will_appear():
    assert charts_of(series(burn=[])).empty.startswith("You have used no credits")
    assert charts_of(series(burn=[]), admin=True).empty.startswith("Nobody has used any credits")


def grant(**changes: object) -> GrantView:
    values: dict[str, object] = {
        "id": "a" * 32,
        "number": 1,
        "title": "Winter school",
        "amount_micros": 25_000_000,
        "left_micros": 20_000_000,
        "priority": 100,
        "effective_ms": NOW_MS - HOUR_MS,
        "expires_ms": NOW_MS + 48 * HOUR_MS,
        "ended_ms": None,
        "applies": {},
        "state": "live",
        "actor": "ada",
        "created_ms": NOW_MS - HOUR_MS,
    }
    return GrantView.model_validate(values | changes)


@pytest.mark.parametrize(
    ("changes", "state", "when", "lasts", "may_void"),
    [
        ({}, "", "expires", "in 2 days", True),
        ({"expires_ms": None}, "", "never expires", "", True),
        ({"state": "scheduled", "effective_ms": NOW_MS + HOUR_MS}, "not begun", "from", "in 1 h", True),
        ({"state": "voided", "ended_ms": NOW_MS}, "taken back", "taken back", "", False),
        ({"state": "used", "ended_ms": NOW_MS}, "used up", "used up", "", False),
    ],
)
def test_a_grant_says_until_when_it_can_be_used(changes, state, when, lasts, may_void):
    shown = grant_row(grant(**changes), {}, "USD", NOW_MS, admin=True)
    assert (shown.state, shown.when, shown.lasts, shown.may_void) == (state, when, lasts, may_void)
    assert not grant_row(grant(**changes), {}, "USD", NOW_MS, admin=False).may_void


@pytest.mark.parametrize("applies", [{}, {"kind": "compute"}, {"gpu": True}, {"gpu": False}, {"kind": "storage"}])
def test_what_a_grant_pays_for_has_words_of_its_own(applies):
    every = [{}, {"kind": "compute"}, {"gpu": True}, {"gpu": False}, {"kind": "storage"}]
    words = pays_for(Applies.model_validate(applies), {})
    assert [other for other in every if pays_for(Applies.model_validate(other), {}) == words] == [applies]


def test_the_last_day_of_a_grant_belongs_to_it():
    values = {"amount": "5", "reference": "r", "title": "", "applies": "spec:h100-1", "expires": "2027-01-31"}
    request = GrantRequest.model_validate(grant_body(values))
    assert request.expires is not None
    assert instant(request.expires, NOW_MS).iso == "2027-02-01T00:00:00Z"
    assert request.applies.specs == ("h100-1",)


def budget(**changes: object) -> BudgetView:
    values: dict[str, object] = {
        "title": "team Vision",
        "team": "vision",
        "offered": LimitsView(),
        "set": LimitsView(),
        "use": UseView(day_micros=5_000_000, month_micros=112_000_000, workspaces=2, gpus=1, storage_bytes=2**30),
        "may_set": False,
    }
    return BudgetView.model_validate(values | changes)


def rows_of(*budgets: BudgetView):
    return budgets_view(BudgetList(budgets=budgets, currency="USD", at_ms=NOW_MS), "acme", "mia", may_add=False)


@pytest.mark.parametrize(
    ("month", "text", "tone", "word"),
    [
        (500_000_000, "$112.00 of $500.00 this month", "", ""),
        (140_000_000, "$112.00 of $140.00 this month", "high", "almost used up"),
        (112_000_000, "$112.00 of $112.00 this month", "full", "used up"),
    ],
)
def test_a_budget_says_in_words_what_its_bar_shows(month, text, tone, word):
    (limit,) = rows_of(budget(set=LimitsView(month_micros=month))).rows[0].lines
    assert (limit.text, limit.tone, limit.word) == (text, tone, word)
    assert 0 <= limit.used <= limit.most


def test_of_two_limits_the_lower_one_is_shown():
    both = budget(offered=LimitsView(gpus=4), set=LimitsView(gpus=8))
    assert rows_of(both).rows[0].lines[0].text == "1 of 4 GPUs at once"


def test_people_whose_limits_are_far_away_stand_apart():
    far = LimitsView(workspaces=5)
    shown = rows_of(
        budget(),
        budget(team="", user="mia", title="mia", offered=far),
        budget(team="", user="tom", title="tom", offered=far),
        budget(team="", user="kim", title="kim", offered=far, set=LimitsView(gpus=9)),
        budget(team="", user="max", title="max", offered=LimitsView(workspaces=2)),
    )
    assert [row.title for row in shown.rows] == ["Vision", "mia", "kim", "max"]
    assert [row.title for row in shown.others] == ["tom"]


def test_what_stands_in_the_form_of_a_budget_reads_back_as_the_same_limits():
    limits = LimitsView(
        day_micros=12_500_000, month_micros=10**12, workspaces=3, gpus=0, storage_bytes=1536 * 2**20 + 512 * 2**10
    )
    request = BudgetRequest.model_validate(budget_values(budget(set=limits)))
    assert LimitsView(**{name: getattr(request.limits(), name) for name in LimitsView.model_fields}) == limits
    assert set(budget_values(budget()).values()) == {""}
