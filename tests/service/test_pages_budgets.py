"""Budgets on the page Credits: who sees which, who may set them, and what is refused."""

from __future__ import annotations

import html
import re

import pytest
from page_parts import HOUR_MS

VISION = {"organization": "acme", "team": "vision", "user": "", "day": "", "month": "500", "gpus": "", "storage": ""}
MIA = VISION | {"user": "mia", "month": "", "day": "20", "workspaces": "2", "storage": "100Gi"}


async def limits_of(service, team: str, user: str = "") -> dict:
    _, found = await service.call("GET", "organizations/acme/budgets", "ada")
    return next((b["set"] for b in found["budgets"] if (b["team"], b["user"]) == (team, user)), {})


async def test_an_admin_sets_the_budget_of_a_team_and_finds_it_in_the_form_again(service, browse):
    form = VISION | {"month": " 250.50 ", "storage": "500Gi", "gpus": "8", "workspaces": ""}
    done = await browse("credits/budget", who="ada", form=form)
    assert done.status == 303
    page = await browse(done.headers["Location"].removeprefix("/services/vessl/").split("#")[0], who="ada")
    assert "The limits are set." in page.text
    assert "of $250.50 this month" in page.text
    again = await browse("credits/budget?organization=acme&team=vision", who="ada")
    for name, value in (("month", "250.5"), ("storage", "500Gi"), ("gpus", "8"), ("day", "")):
        assert re.search(rf'name="{name}" type="text" value="{value}"', again.source)


async def test_an_empty_form_takes_limits_away(service, browse):
    await browse("credits/budget", who="ada", form=VISION)
    await browse("credits/budget", who="ada", form=VISION | {"month": ""})
    assert set((await limits_of(service, "vision")).values()) == {None}


async def test_a_manager_limits_members_of_the_own_team_only(service, browse):
    assert (await browse("credits/budget", who="max", form=MIA)).status == 303
    assert (await limits_of(service, "vision", "mia"))["day_micros"] == 20_000_000
    refusals = (VISION, MIA | {"team": "speech"}, MIA | {"team": ""}, VISION | {"team": ""})
    for form in refusals:
        assert (await browse("credits/budget", who="max", form=form)).status == 403
    nobody = await browse("credits/budget", who="max", form=VISION | {"choose": "1"})
    assert "Write whose limits they are" in nobody.source.split('id="vessl-user-error"', 1)[1]
    source = (await browse("credits", who="max")).source
    assert "Set limits of mia in Computer Vision" in source
    assert "Set limits of Speech" not in source
    assert "Set limits of Acme Research" not in source
    offered = (await browse("credits/budget?organization=acme", who="max")).source
    assert 'value="vision"' in offered
    assert 'value="speech"' not in offered


@pytest.mark.parametrize("who", ["mia", "tom", "vic"])
async def test_members_see_budgets_and_set_none(service, browse, who):
    await browse("credits/budget", who="ada", form=MIA)
    page = await browse("credits", who=who)
    assert "Budgets" in page.text
    assert "credits/budget" not in page.source
    assert ("mia in Computer Vision" in page.text) == (who == "mia")
    assert (await browse("credits/budget", who=who, form=MIA)).status == 403
    assert (await browse("credits/budget?organization=acme&team=vision", who=who)).status == 403


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"month": "-1"}, "month", "A budget is 0 or more"),
        ({"month": "much"}, "month", "An amount is written as a number"),
        ({"day": "0.0000001"}, "day", "An amount has at most six decimals"),
        ({"gpus": "two"}, "gpus", "Write a whole number, such as 4."),
        ({"storage": "100"}, "storage", "Write a size with its unit"),
        ({"team": "chess"}, "team", "There is no team"),
        ({"choose": "1", "team": ""}, "user", "Choose a team, write a person's name, or both."),
    ],
)
async def test_a_wrong_limit_comes_back_at_its_field_with_the_form_as_it_was(service, browse, changes, field, sentence):
    page = await browse("credits/budget", who="ada", form=VISION | {"workspaces": "7"} | changes)
    assert page.status in (400, 404)
    error = page.source.split(f'id="vessl-{field}-error"', 1)[1].split("</p>", 1)[0]
    assert sentence in html.unescape(error)
    assert 'name="workspaces" type="text" value="7"' in page.source
    assert set((await limits_of(service, "vision")).values()) == {None}


async def test_a_budget_below_what_is_spent_is_refused_with_the_reason(service, browse, clock):
    await service.run("mia")
    clock.ms += 10 * HOUR_MS
    page = await browse("credits/budget", who="ada", form=VISION | {"month": "0.10", "day": "99"})
    assert page.status == 400
    error = page.source.split('id="vessl-month-error"', 1)[1].split("</p>", 1)[0]
    assert "has used $0.50 this month already, so the budget cannot be lower than that" in error
    assert 'value="0.10"' in page.source
    assert 'value="99"' in page.source
    assert set((await limits_of(service, "vision")).values()) == {None}


async def test_a_spent_budget_is_said_in_words(service, browse, clock):
    await service.run("mia")
    await browse("credits/budget", who="ada", form=VISION | {"month": "0.50"})
    clock.ms += 11 * HOUR_MS
    page = await browse("credits")
    limit = page.source.split('data-tone="full"', 1)[1].split("</div>", 1)[0]
    assert "$0.55 of $0.50 this month" in limit
    assert "used up" in limit
