"""The settings of the authenticator: what they refuse, what they default to, what they say."""

from __future__ import annotations

import pytest
from jupyterhub_vessl_authenticator import VesslOIDCAuthenticator
from jupyterhub_vessl_authenticator.provider import SignInRefused
from sign_in_parts import DEMO_OFFER
from traitlets import TraitError
from traitlets.config import Config

from jupyterhub_vessl.model.errors import OfferError

COMPLETE = {"issuer": "https://sso.acme.example", "client_id": "hub", "offer_file": str(DEMO_OFFER)}


def authenticator(**settings) -> VesslOIDCAuthenticator:
    return VesslOIDCAuthenticator(**{**COMPLETE, **settings})


@pytest.mark.parametrize("names", [["HS256"], ["RS256", "HS512"], ["none"], ["None"], ["rs256"], [""], []])
def test_algorithms_whose_key_is_no_secret_of_the_provider_are_refused(names):
    with pytest.raises(TraitError):
        authenticator(algorithms=names)


@pytest.mark.parametrize("issuer", ["sso.acme.example", "file:///x", "ftp://sso.acme.example"])
def test_an_issuer_that_is_no_url_is_refused(issuer):
    with pytest.raises(TraitError, match="issuer is a URL such as"):
        authenticator(issuer=issuer)


def test_the_address_of_the_discovery_document_is_read_as_its_issuer():
    found = authenticator(issuer="https://sso.acme.example/.well-known/openid-configuration")
    assert found.issuer == "https://sso.acme.example"


def test_groups_cannot_be_switched_off():
    with pytest.raises(TraitError, match="manage_groups stays True"):
        authenticator(manage_groups=False)


@pytest.mark.parametrize("name", COMPLETE)
def test_a_hub_without_a_needed_setting_does_not_start(name, monkeypatch):
    monkeypatch.delenv("OAUTH_CLIENT_ID", raising=False)
    settings = {other: value for other, value in COMPLETE.items() if other != name}
    with pytest.raises(ValueError, match=f"needs {name}"):
        VesslOIDCAuthenticator(**settings).get_handlers(None)


def test_a_hub_with_a_wrong_offer_does_not_start(tmp_path):
    path = tmp_path / "vessl.yaml"
    path.write_text("organizations: []\n")
    with pytest.raises(OfferError):
        authenticator(offer_file=str(path)).get_handlers(None)


def test_memberships_are_reread_exactly_where_auth_state_can_be_kept(monkeypatch):
    monkeypatch.delenv("JUPYTERHUB_CRYPT_KEY", raising=False)
    assert not authenticator().enable_auth_state
    assert authenticator(config=Config({"CryptKeeper": {"keys": ["0" * 64]}})).enable_auth_state
    monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", "0" * 64)
    assert authenticator().enable_auth_state
    assert not authenticator(enable_auth_state=False).enable_auth_state


@pytest.mark.parametrize(
    "settings",
    [{}, {"allow_all": True}, {"allowed_users": {"zoe"}}, {"admin_users": {"zoe"}}, {"any_allow_config": True}],
)
async def test_no_setting_lets_in_somebody_without_a_membership(settings):
    model = {"name": "zoe", "admin": True, "groups": [], "auth_state": {}}
    assert not await authenticator(**settings).check_allowed("zoe", model)


@pytest.mark.parametrize("name", [None, "", 7, ["mia"], {"name": "mia"}, "m" * 300])
def test_a_claim_that_is_no_name_signs_nobody_in(name):
    with pytest.raises(SignInRefused, match="the claim preferred_username gives no user name") as refusal:
        authenticator().user_info_to_username({"preferred_username": name, "email": "private@acme.example"})
    assert "private" not in str(refusal.value)


def test_an_unverified_email_address_is_no_user_name():
    found = authenticator(username_claim="email")
    assert found.user_info_to_username({"email": "mia@acme.example", "email_verified": True}) == "mia@acme.example"
    with pytest.raises(SignInRefused):
        found.user_info_to_username({"email": "mia@acme.example"})


def test_every_setting_explains_itself():
    own = VesslOIDCAuthenticator.class_own_traits(config=True)
    assert {"issuer", "offer_file", "jwks_url", "algorithms", "leeway_seconds"} <= set(own)
    for name, trait in own.items():
        assert "\n\n" in trait.help, name
        assert "Example:" in trait.help, name
