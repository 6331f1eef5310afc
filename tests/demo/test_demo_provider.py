"""The demo's identity provider, as a browser and the hub see it."""

from __future__ import annotations

from typing import Any

import pytest

from jupyterhub_vessl.demo.people import PEOPLE
from jupyterhub_vessl.demo.provider import application

AUTHORIZE = "/oauth2/authorize?response_type=code&client_id=hub&scope=openid&redirect_uri=http://127.0.0.1/callback"


@pytest.fixture
def browser() -> Any:
    return application().test_client()


def test_the_sign_in_page_offers_everybody_by_one_click_and_needs_no_internet(browser: Any) -> None:
    page = browser.get(AUTHORIZE)
    assert page.status_code == 200
    for person in PEOPLE:
        assert f'name="sub" value="{person.sub}">{person.sub}</button> {person.name}' in page.text
    assert "http" not in page.text.replace("http-equiv", "")


def test_choosing_a_person_leads_back_with_a_code(browser: Any) -> None:
    answer = browser.post(AUTHORIZE, data={"sub": "mia"})
    assert answer.status_code == 302
    assert answer.location.startswith("http://127.0.0.1/callback?code=")


def test_the_debugger_is_off() -> None:
    app = application()
    assert app.debug is False
    assert "Debug" not in type(app.wsgi_app).__name__
