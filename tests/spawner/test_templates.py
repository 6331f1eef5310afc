"""The hub's own pages in our words, drawn by the hub's loader from the hub's own templates underneath."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from form_parts import NOW_MS, offered, paused
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH
from jupyterhub_vessl_spawner.form import TEMPLATES
from jupyterhub_vessl_spawner.last_end import last_end

from jupyterhub_vessl.model.errors import Unavailable
from jupyterhub_vessl.model.lifecycle import State

HOSTILE = "<script>alert(1)</script>"
STOCK = f"{DATA_FILES_PATH}/templates"


def draw(name: str, **values: Any) -> str:
    """A page as the hub draws it, which waits for what its templates ask."""
    loader = ChoiceLoader(
        [PrefixLoader({"templates": FileSystemLoader([STOCK])}, "/"), FileSystemLoader([str(TEMPLATES), STOCK])]
    )
    user = SimpleNamespace(name="mia", json_escaped_name="mia", escaped_name="mia", spawner=SimpleNamespace())
    namespace = {
        "base_url": "/prefix/hub/",
        "prefix": "/prefix/",
        "user": user,
        "login_url": "/prefix/hub/login",
        "logout_url": "/prefix/hub/logout",
        "static_url": lambda path, **_: f"/prefix/hub/static/{path}",
        "services": [SimpleNamespace(name="vessl", href="/v"), SimpleNamespace(name="docs", href="/docs")],
        "parsed_scopes": {},
        "no_spawner_check": True,
        "xsrf_token": "x",
    }
    page = Environment(loader=loader, autoescape=True, enable_async=True).get_template(name)
    return asyncio.run(page.render_async(**(namespace | values)))


def pending(name: str, options: Any = None) -> str:
    spawner = SimpleNamespace(name=name, user_options=options or {}, orm_spawner=SimpleNamespace(display_name=""))
    return draw("spawn_pending.html", spawner=spawner, progress_url="/prefix/hub/api/progress?_xsrf=x")


def test_the_top_bar_leads_to_the_service_below_the_hubs_own_prefix() -> None:
    html = draw("spawn.html", spawner_options_form="<p>form</p>", url="/spawn")
    assert 'href="/prefix/services/vessl/"' in html
    assert 'href="/prefix/services/vessl/credits"' in html
    assert 'href="/docs"' in html
    assert 'href="/v"' not in html
    assert "Admin" not in html
    assert "Admin" in draw("spawn.html", spawner_options_form="", parsed_scopes={"admin-ui": {}})


@pytest.mark.parametrize("name", ["error_message", "html_error_message", "error_html_message"])
def test_an_error_reaches_the_form_page_as_plain_text_whatever_the_hub_calls_it(name: str) -> None:
    html = draw("spawn.html", spawner_options_form="<p>form</p>", **{name: f"It failed {HOSTILE}"})
    assert "It failed" in html
    assert HOSTILE not in html


def test_a_refusal_that_the_form_shows_itself_is_not_said_twice() -> None:
    html = draw("spawn.html", spawner_options_form="<div data-vessl-refused>No.</div>", error_message="No.")
    assert html.count("No.") == 1


def test_the_form_page_has_no_start_button_of_its_own() -> None:
    assert "submit" not in draw("spawn.html", spawner_options_form="<p>form</p>")


def test_a_notice_is_not_wrapped_in_a_form() -> None:
    assert "<form" not in draw("spawn.html", spawner_options_form="<section data-vessl-notice>No.</section>")
    assert "<form" in draw("spawn.html", spawner_options_form="<p>fields</p>")


def test_the_banner_that_asks_for_javascript_is_hidden_only_where_it_is_not_needed() -> None:
    hidden = "#noscript { display: none; }"
    assert hidden in draw("spawn.html", spawner_options_form="")
    assert hidden in pending("")
    assert hidden not in draw("page.html")


def test_cancel_stops_the_server_that_is_starting() -> None:
    assert 'const serverName = "second";' in pending("second")
    assert 'const serverName = "";' in pending("")
    html = pending("second")
    assert "api.stop_named_server(window.jhdata.user, serverName" in html
    assert 'href="/prefix/hub/spawn/mia/second"' in html


def test_the_pending_page_survives_whatever_was_put_into_user_options() -> None:
    assert HOSTILE not in pending("", {"name": HOSTILE})
    assert len(pending("", {"name": "x" * 1_000_000})) < 50_000
    assert "Your workspace is starting" in pending("", ["not", "a", "map"])


def test_a_failed_start_says_why_and_leads_back_to_the_form() -> None:
    html = draw(
        "not_running.html",
        failed=True,
        failed_message=f"No credits {HOSTILE}",
        server_name="",
        spawn_url="/hub/spawn/mia",
    )
    assert "No credits" in html
    assert HOSTILE not in html
    assert 'href="/hub/spawn/mia"' in html
    assert "Back to the form" in html


def test_a_workspace_that_does_not_run_can_be_started_from_its_page() -> None:
    html = draw("not_running.html", failed=False, server_name="second", spawn_url="/hub/spawn/mia/second")
    assert "second is not running" in html
    assert 'href="/hub/spawn/mia/second"' in html


def not_running(answer: Any, **values: Any) -> str:
    """The page of a server that does not run, with what the service answers about it."""
    asked = []

    class Service:
        async def form(self, caller: Any) -> Any:
            asked.append((caller.user, caller.groups, caller.server_name))
            if isinstance(answer, Exception):
                raise answer
            return offered(workspace=answer)

    groups = [SimpleNamespace(name="vessl:acme:speech:member"), SimpleNamespace(name="staff")]
    user = SimpleNamespace(name="mia", json_escaped_name="mia", escaped_name="mia", groups=groups)
    spawner = SimpleNamespace(user=user, name="two", service_client=lambda tries: Service())
    spawner.last_end = lambda: last_end(spawner)
    user.spawners = {"two": spawner}
    html = draw("not_running.html", user=user, server_name="two", spawn_url="/hub/spawn/mia/two", **values)
    assert asked in ([("mia", ("vessl:acme:speech:member",), "two")], [])
    return html


def test_a_workspace_that_ended_says_why_and_how_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: (NOW_MS + 2 * 3_600_000) * 1_000_000)
    why = f"It needed more than 2 GiB of memory. Next larger: CPU medium with 6 GiB, +$0.06/h. {HOSTILE}"
    html = not_running(paused(message=why))
    assert why.removesuffix(HOSTILE) in html
    assert "(2 h ago)" in html
    assert "fine-tune llama is not running" in html
    assert HOSTILE not in html
    assert "alert-danger text-break" not in html
    assert "alert-danger text-break" in not_running(paused(message=why, state=State.FAILED))


@pytest.mark.parametrize(
    "answer",
    [None, Unavailable("It does not answer."), paused(message=""), paused(message="Old.", state=State.RUNNING)],
)
def test_without_a_known_end_the_page_says_where_to_look(answer: Any) -> None:
    html = not_running(answer)
    assert "two is not running" in html
    assert "says which, when and why" in html
    assert "Old." not in html


def test_a_start_that_was_refused_shows_its_own_reason_and_not_the_end_before_it() -> None:
    html = not_running(paused(message="It was stopped."), failed=True, failed_message="No credits.")
    assert "No credits." in html
    assert "It was stopped." not in html


def test_a_person_without_a_team_reads_one_sentence_and_can_sign_in_as_someone_else() -> None:
    sentence = "zoe is in no team of Acme Research. Ask ada@acme.example."
    html = draw("error.html", user=None, status_code=403, status_message="Forbidden", message=sentence)
    assert sentence in html
    assert "Not allowed" in html
    assert 'href="/prefix/hub/logout"' in html


def test_other_errors_do_not_offer_another_sign_in() -> None:
    html = draw("error.html", status_code=500, status_message="Internal Server Error", message="")
    assert "Sign in as someone else" not in html
    assert 'href="/prefix/services/vessl/"' in html


def test_sign_in_names_the_provider_and_keeps_the_form_of_other_authenticators() -> None:
    sso = draw("login.html", user=None, login_service="Acme SSO", authenticator_login_url="/oauth")
    assert "Sign in with Acme SSO" in sso
    assert 'id="insecure-login-warning"' in sso
    authenticator = SimpleNamespace(request_otp=False)
    password = draw("login.html", user=None, authenticator_login_url="/login", authenticator=authenticator)
    assert 'name="password"' in password


def test_a_workspace_that_is_being_paused_says_so() -> None:
    assert "is being paused" in draw("stop_pending.html")
