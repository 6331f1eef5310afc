"""The form: what a browser sends becomes a request or one sentence, and what is offered becomes honest choices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from form_parts import (
    BROWSER,
    HOSTILE,
    NOW_MS,
    SPEECH,
    VISION,
    Page,
    credits,
    offered,
    paused,
    team,
    view_of,
    with_containers,
)
from jupyterhub_vessl_spawner import form
from jupyterhub_vessl_spawner.form_fields import Draft, draft_from_form, draft_from_request, request_from_form
from jupyterhub_vessl_spawner.form_scene import Notice
from jupyterhub_vessl_spawner.form_view import FormView, form_view
from jupyterhub_vessl_spawner.refusal import VesslSpawnRefused

from jupyterhub_vessl.model.errors import BadInput
from jupyterhub_vessl.model.request import parse_request
from jupyterhub_vessl.model.wire import OfferView

# -- parsing -------------------------------------------------------------------


def test_an_untouched_form_asks_for_the_preset_and_nothing_else() -> None:
    assert form.parse_form(BROWSER) == {"team": "vision", "preset": "notebook"}


def test_the_drawn_form_sent_back_untouched_is_accepted() -> None:
    sent = Page(form.render(view_of(offered()))).sent
    assert form.parse_form(sent) == {"team": "vision", "preset": "notebook"}


def test_a_request_drawn_into_the_form_comes_back_the_same() -> None:
    options = {
        "name": "fine-tune llama",
        "team": "vision",
        "preset": "web-app",
        "spec": "cpu-medium",
        "image": "laptop",
        "storage": {"datasets": "/data", "handbook": "/shared/book"},
        "ports": {"app": {"type": "http", "port": 3000}, "db": {"type": "tcp", "port": 5432}},
        "environment": {"WANDB_PROJECT": "llama <3", "EMPTY": ""},
    }
    draft = draft_from_request(parse_request(options))
    assert form.parse_form(Page(form.render(view_of(offered(), draft))).sent) == options


def test_sections_that_were_emptied_on_purpose_stay_empty() -> None:
    options = {"preset": "web-app", "team": "vision", "storage": {}, "ports": {}, "environment": {}}
    draft = draft_from_request(parse_request(options))
    assert form.parse_form(Page(form.render(view_of(offered(), draft))).sent) == options


def test_an_unticked_volume_is_not_mounted() -> None:
    assert "storage" not in form.parse_form({**BROWSER, "mount_path.datasets": ["/data"]})


def test_blank_rows_are_no_rows() -> None:
    sent = {**BROWSER, "port.0.name": [""], "port.0.type": ["tcp"], "port.0.number": [" "], "variable.3.name": [""]}
    assert "ports" not in form.parse_form(sent)
    assert "environment" not in form.parse_form(sent)


def test_the_xsrf_token_is_not_a_choice() -> None:
    assert form.parse_form({**BROWSER, "_xsrf": ["2|abc"]}) == form.parse_form(BROWSER)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"price": ["0"]}, "", "no field 'price'"),
        ({"port.0.host": ["x"]}, "", "no field"),
        ({"variable.0.number": ["1"]}, "", "no field"),
        ({"port.1234.name": ["x"]}, "", "no field"),
        ({"mount.../etc": ["yes"]}, "", "no field"),
        ({"none.spec": ["yes"]}, "", "no field"),
        ({"upload_file": [b"x"]}, "", "no field"),
        ({"name": [b"x"]}, "name", "is text"),
        ({"spec": ["a", "b"]}, "spec", "2 times"),
        ({"team": []}, "team", "0 times"),
        ({"mount.datasets": ["yes"], "mount_path.datasets": [" "]}, "storage", "where datasets"),
        ({"mount.datasets": ["yes"], "mount_path.datasets": ["/data/../etc"]}, "storage", "absolute path"),
        ({"mount.datasets": ["yes"], "mount_path.datasets": ["/etc"]}, "storage", "belongs to the system"),
        ({"port.0.name": ["app"], "port.0.number": ["-1"]}, "ports", "needs a number"),
        ({"port.0.name": ["app"], "port.0.number": ["３０００"]}, "ports", "needs a number"),
        ({"port.0.name": ["app"], "port.0.number": ["80"]}, "ports", "1024 to 65535"),
        ({"port.0.number": ["3000"]}, "ports", "needs a name"),
        ({"port.0.name": ["a"], "port.0.number": ["3000"], "port.0.type": ["udp"]}, "ports", "http"),
        (
            {"port.0.name": ["a"], "port.0.number": ["3000"], "port.1.name": ["a"], "port.1.number": ["3001"]},
            "ports",
            "Two ports",
        ),
        ({"variable.0.value": ["x"]}, "environment", "needs a name"),
        ({"variable.0.name": ["JUPYTERHUB_API_TOKEN"], "variable.0.value": ["x"]}, "environment", "set by the system"),
        ({"variable.0.name": ["A"], "variable.1.name": ["A"]}, "environment", "twice"),
        ({"variable.0.name": ["A"], "variable.0.value": ["{x}"]}, "environment", "plain text"),
        ({"image": ["custom:"]}, "image_url", "Write which image"),
        ({"image": ["custom:"], "image_url": ["quay.io/a/../b"]}, "image_url", "image reference"),
        ({"image": ["custom:"], "image_url": ["a b"]}, "image_url", "image reference"),
        ({"image": ["laptop"], "image_url": ["quay.io/acme/x:1"]}, "image_url", "image of the list is chosen"),
        ({"credential_name": ["acme-quay"]}, "credential_name", "belongs to an image of your own"),
        ({"image": ["custom:"], "image_url": ["a/b"], "credential_name": ["A!"]}, "credential_name", "lower-case"),
        ({"name": ["$(reboot)"]}, "name", "plain text"),
        ({"name": ["a\nb"]}, "name", "one line"),
        ({"name": ["ab\n"]}, "name", "one line"),
        ({"name": ["a\0b"]}, "name", "one line"),
        ({"name": ["x" * 81]}, "name", "80 characters"),
        ({"name": ["x" * 10_000_000]}, "name", "4096 characters"),
        ({"team": ["../vision"]}, "team", "lower-case"),
        ({f"variable.{n}.value": ["x" * 4096] for n in range(64)}, "", "128 KiB"),
        ({f"nothing.{n}": ["x"] for n in range(700)}, "", "600 fields"),
    ],
)
def test_what_is_wrong_is_refused_with_one_sentence_at_its_field(
    changes: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(BadInput) as wrong:
        request_from_form({**BROWSER, **changes})
    assert wrong.value.field == field
    assert words in wrong.value.message
    assert len(wrong.value.message) < 300
    with pytest.raises(VesslSpawnRefused) as refused:
        form.parse_form({**BROWSER, **changes})
    assert refused.value.jupyterhub_message == wrong.value.sentence()


@pytest.mark.parametrize("field", ["spec", "image"])
def test_a_form_without_a_choice_is_refused_instead_of_taking_the_cheapest(field: str) -> None:
    sent = {key: value for key, value in BROWSER.items() if key != field}
    with pytest.raises(BadInput) as wrong:
        request_from_form(sent)
    assert wrong.value.field == field


def test_a_wrong_form_is_kept_as_it_was_sent() -> None:
    draft = draft_from_form({**BROWSER, "port.7.name": ["App!"], "port.7.number": ["x"], "mount_path.datasets": ["no"]})
    assert (draft.ports[0].name, draft.ports[0].number) == ("App!", "x")
    assert draft.mount_paths == {"datasets": "no"}


def test_an_image_of_ones_own_replaces_the_presets() -> None:
    own = {"team": "vision", "preset": "notebook", "image_url": "quay.io/acme/x:1"}
    assert form.parse_form({**BROWSER, "image": ["custom:"], "image_url": [" quay.io/acme/x:1 "]}) == own
    assert form.parse_form({**BROWSER, "image_url": ["quay.io/acme/x:1"], "credential_name": [""]}) == own


# -- what is shown -------------------------------------------------------------


def test_what_may_not_be_chosen_is_shown_with_the_reason() -> None:
    view = view_of(offered())
    reasons = {spec.value: spec.obstacle for spec in view.specs}
    assert reasons["cpu-small"] == ""
    assert reasons["cpu-large"] == "this machine has 2 CPU"
    assert reasons["h100-1"] == "this machine has no H100 GPU"
    assert next(i for i in view.images if i.value == "pytorch").obstacle
    assert next(p for p in view.presets if p.value == "fine-tune").obstacle == "this machine has no H100 GPU"
    html = form.render(view)
    assert re.search(r'id="spec-h100-1"[^>]* disabled', html)
    assert not re.search(r'id="spec-cpu-small"[^>]* disabled', html)


def test_lasts_until_counts_to_the_buffer_with_everything_that_runs() -> None:
    """(41.20 + 10) / (1.55 + 0.05) h = 32 h exactly."""
    view = view_of(offered(money=(credits(41_200_000, 50_000),)))
    a100 = next(spec for spec in view.specs if spec.value == "a100-1")
    assert a100.quote is not None
    assert a100.quote.until_iso == "2026-11-19T19:06:40Z"
    assert (a100.quote.until, a100.quote.duration) == ("Thu 19:06 UTC", "32 h")
    assert (a100.quote.compute.text, a100.quote.compute.exact) == ("$1.55/h", "$1.550000/h")


def test_the_price_of_home_counts_unless_it_is_billed_already() -> None:
    offer = offered(teams=(SPEECH,), money=(credits(40_000_000),))
    dear = offer.home.model_copy(update={"rate_micros_per_hour": 50_000})
    new = view_of(offer.model_copy(update={"home": dear}))
    again = view_of(offer.model_copy(update={"home": dear, "workspace": paused()}))
    assert [v.specs[0].quote.now.text for v in (new, again) if v.specs[0].quote] == ["$0.10/h", "$0.10/h"]
    assert new.specs[0].quote is not None
    assert again.specs[0].quote is not None
    assert new.specs[0].quote.duration == "20 days"  # 50 / 0.10 = 500 h
    assert again.specs[0].quote.duration == "41 days"  # 50 / 0.05 = 1000 h: the organization pays for home already


def test_credits_that_last_for_ages_or_for_ever_are_said_in_words() -> None:
    ages = view_of(offered(money=(credits(10**15),)))
    assert ages.specs[0].quote is not None
    assert ages.specs[0].quote.instead == "lasts more than 10 years"
    free = offered().specs[0].model_copy(update={"rate_micros_per_hour": 0})
    for_ever = view_of(offered(specs=(free,)))
    assert for_ever.specs[0].quote is not None
    assert for_ever.specs[0].quote.instead == "credits are not used up"


@pytest.mark.parametrize(("balance", "starts"), [(1, True), (0, False), (-2_100_000, False)])
def test_start_is_off_exactly_when_the_service_would_refuse_for_want_of_credits(balance: int, starts: bool) -> None:
    view = view_of(offered(money=(credits(balance),)))
    assert bool(view.no_start) is not starts
    button = re.search(r"<button[^>]*vessl-start[^>]*>", form.render(view))
    assert button
    assert ("disabled" in button[0]) is not starts
    if not starts:
        assert "ada@acme.example" in view.credits_notice
        assert "Not started" not in view.credits_notice


def test_one_organization_without_credits_does_not_turn_start_off_for_the_other() -> None:
    labs = team("labs", "Labs", organization="other")
    money = (credits(0), credits(5_000_000, organization="other", title="Other", currency="EUR"))
    view = view_of(offered(teams=(VISION, labs), money=money))
    assert view.credits_notice
    assert not view.no_start
    assert view.data["teams"]["labs"]["quotes"]["cpu-small"]["compute"]["text"] == "€0.05/h"
    assert view.data["teams"]["vision"]["no_start"]


def test_a_viewer_gets_a_notice_with_whom_to_ask_and_no_form() -> None:
    notice = form_view(offered(teams=(team("speech", "Speech", may_create=False),)), Draft(), None, NOW_MS)
    assert isinstance(notice, Notice)
    assert "ada@acme.example" in notice.sentence
    page = Page(form.render(notice))
    assert page.controls == []
    assert "button" not in page.tags


def test_an_existing_workspace_keeps_its_team_and_its_name() -> None:
    view = view_of(offered(workspace=paused()), Draft(team="vision"))
    assert view.heading == "Start fine-tune llama again"
    assert (view.team_fixed, [t.value for t in view.teams]) == (True, ["speech"])
    assert view.name == "fine-tune llama"
    assert Page(form.render(view)).sent["team"] == ["speech"]


def test_the_workspace_of_a_team_one_has_left_cannot_be_started() -> None:
    notice = form_view(offered(workspace=paused(team="audio")), Draft(), None, NOW_MS)
    assert isinstance(notice, Notice)
    assert "audio" in notice.sentence


def test_a_choice_that_is_no_longer_available_is_not_replaced_silently() -> None:
    view = view_of(offered(), Draft(preset="", spec="h100-1", image="pytorch"))
    assert "H100 × 1 was chosen before and is not available" in view.errors["spec"]
    assert not any(spec.selected for spec in view.specs)
    assert "image" in view.errors
    page = Page(form.render(view))
    assert "spec" not in page.sent
    with pytest.raises(BadInput):
        request_from_form({**page.sent, "image": ["laptop"]})


def test_without_presets_the_cheapest_spec_that_is_available_is_chosen() -> None:
    view = view_of(offered(presets=()))
    assert [spec.value for spec in view.specs if spec.selected] == ["cpu-small"]
    assert form.parse_form(Page(form.render(view)).sent) == {"team": "vision", "spec": "cpu-small", "image": "laptop"}


def own_image(view: FormView) -> Any:
    return next(image for image in view.images if image.value == "custom:")


def test_an_image_of_ones_own_chosen_before_is_filled_in_again() -> None:
    options = {
        "name": "llama",
        "team": "vision",
        "cluster": "seoul",
        "spec": "cpu-small",
        "image_url": "quay.io/acme/x:1",
        "credential_name": "acme-quay",
    }
    draft = draft_from_request(parse_request(options))
    html = form.render(view_of(with_containers(workspace=paused(team="vision")), draft))
    assert form.parse_form(Page(html).sent) == options


def test_registries_and_credentials_are_those_of_the_persons_teams() -> None:
    view = view_of(with_containers())
    assert own_image(view).note == "not on This machine: container images need a Kubernetes or Slurm cluster; " + (
        "only for Computer Vision"
    )
    assert view.custom_image is not None
    assert view.custom_image.registries == ("quay.io/acme/", "ghcr.io/acme/")
    assert [(c.value, c.note) for c in view.custom_image.credentials] == [
        ("acme-quay", "only for Computer Vision"),
        ("speech-quay", "only for Speech"),
    ]
    assert "<code>quay.io/acme/</code> or <code>ghcr.io/acme/</code>." in form.render(view)
    vision = view_of(with_containers(teams=(VISION,))).custom_image
    assert vision is not None
    assert [c.value for c in vision.credentials] == ["acme-quay"]


@pytest.mark.parametrize(
    ("teams", "cluster", "reason"),
    [
        ((SPEECH,), "seoul", "not for team Speech"),
        ((SPEECH, team("audio", "Audio")), "seoul", "not for your teams"),
        ((VISION,), "laptop", "container images need a Kubernetes or Slurm cluster"),
    ],
)
def test_an_image_of_ones_own_that_nobody_here_may_start_is_greyed_with_the_reason(
    teams: tuple[Any, ...], cluster: str, reason: str
) -> None:
    offer = with_containers(teams=teams)
    view = view_of(offer.model_copy(update={"clusters": tuple(c for c in offer.clusters if c.name == cluster)}))
    assert own_image(view).obstacle == reason
    assert view.custom_image is None
    html = form.render(view)
    assert re.search(r'<option value="custom:"[^>]* disabled', html)
    assert "image_url" not in Page(html).sent
    assert "ghcr.io" not in html


def test_an_offer_without_images_of_ones_own_does_not_speak_of_them() -> None:
    html = form.render(view_of(with_containers("")))
    assert "Custom image" not in html
    assert "image_url" not in Page(html).sent


def test_an_image_of_ones_own_that_is_no_longer_allowed_is_not_replaced_silently() -> None:
    draft = Draft(preset="", image="custom:", image_url="quay.io/acme/x:1", credential_name="gone")
    view = view_of(with_containers(teams=(SPEECH,)), draft)
    assert view.image_unresolved
    assert view.errors["image"].startswith("An image of your own was chosen before and is not available: not for team")
    refused = BadInput("Not in a registry that is allowed here.", field="image_url")
    assert view_of(with_containers(""), draft, refused).errors["image"] == refused.sentence()
    assert "gone was chosen before" in view_of(with_containers(), draft).errors["credential_name"]


def test_without_an_image_of_the_list_that_fits_an_image_of_ones_own_is_what_is_left() -> None:
    offer = with_containers(teams=(VISION,), presets=())
    offer = offer.model_copy(update={"images": tuple(i for i in offer.images if i.name == "laptop")})
    assert own_image(view_of(offer, Draft(cluster="seoul"))).selected
    assert not own_image(view_of(offer, Draft(cluster="laptop"))).selected


def test_tcp_ports_of_kubernetes_are_explained_where_there_is_such_a_cluster() -> None:
    assert "On a Kubernetes cluster" in form.render(view_of(with_containers()))
    assert "Kubernetes cluster a" not in form.render(view_of(offered()))


def test_a_preset_that_needs_another_team_is_not_chosen_beforehand() -> None:
    first = next(p for p in offered().presets if p.name == "web-app")
    view = view_of(offered(presets=(first,)), Draft(team="speech"))
    assert view.choose_yourself
    assert "only for Computer Vision" in view.presets[0].note


# -- HTML ----------------------------------------------------------------------


def hostile_offer() -> OfferView:
    data = with_containers().model_dump(mode="json")
    data["custom_images"] |= {"registries": [HOSTILE], "credentials": {HOSTILE: ["vision"]}}
    for part in ("clusters", "specs", "images", "presets", "volumes"):
        for item in data[part]:
            item["title"] = HOSTILE
            if "description" in item:
                item["description"] = HOSTILE
            item["obstacles"] = {name: HOSTILE for name in item.get("obstacles", {}) if item["name"] != "cpu-small"}
    for item in [*data["me"]["teams"], *data["me"]["credits"]]:
        item["title"] = HOSTILE
    data["me"]["credits"][0] |= {"contact": HOSTILE, "balance_micros": -1}
    return OfferView.model_validate(data)


def test_hostile_titles_and_values_stay_text() -> None:
    sent = {
        **BROWSER,
        "name": [HOSTILE],
        "port.0.name": [HOSTILE],
        "variable.0.name": [HOSTILE],
        "variable.0.value": ["</script><script>alert(3)</script>"],
        "mount_path.datasets": [HOSTILE],
        "image": ["custom:"],
        "image_url": [HOSTILE],
        "credential_name": [HOSTILE],
    }
    refused = BadInput(HOSTILE, field="ports")
    html = form.render(view_of(hostile_offer(), draft_from_form(sent), refused))
    page, plain = Page(html), Page(form.render(view_of(with_containers())))
    assert "img" not in page.tags
    assert page.tags.count("script") == plain.tags.count("script")
    assert all("onerror" not in control for control in page.controls)
    assert page.sent["name"] == page.sent["image_url"] == page.sent["credential_name"] == [HOSTILE]


def test_our_script_and_style_cannot_end_early() -> None:
    static = form.HERE / "static"
    for name, end in (("form.js", "</script"), ("form.js", "<!--"), ("vessl.css", "</style")):
        assert end not in (static / name).read_text("utf-8")


def drafts() -> Iterator[FormView]:
    yield view_of(offered())
    yield view_of(offered(teams=(SPEECH,)), Draft(preset=""))
    yield view_of(offered(), Draft(emptied=frozenset({"ports"})), BadInput("No.", field="storage"))
    yield view_of(with_containers())
    yield view_of(with_containers(), Draft(image="custom:"), BadInput("No.", field="image_url"))


@pytest.mark.parametrize("index", range(5))
def test_every_control_has_a_label_and_every_id_is_there_once(index: int) -> None:
    page = Page(form.render(list(drafts())[index]))
    visible = [control for control in page.controls if control.get("type") != "hidden"]
    assert len(visible) > 20
    assert [control["id"] for control in visible if control["id"] not in page.labels] == []
    assert len(page.ids) == len(set(page.ids))
    described = [part for control in visible for part in str(control.get("aria-describedby") or "").split()]
    assert set(described) <= set(page.ids)
