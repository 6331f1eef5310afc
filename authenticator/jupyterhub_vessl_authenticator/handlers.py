"""The two pages of a sign-in: the way to the provider, and the way back."""

from __future__ import annotations

import hmac
import secrets
from http import HTTPStatus
from typing import Any

from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthLoginHandler, _deserialize_state, _serialize_state
from tornado import web

from jupyterhub_vessl.model.text import bounded

STATE_CHARACTERS_MAX = 4096


def sign_in_page(status: int, sentence: str) -> web.HTTPError:
    """The error that the hub shows as its page: a heading with the status and one plain sentence.

    Without a reason of its own, the hub would repeat the sentence as the heading. ``jupyterhub_message`` is
    escaped by the hub's template.
    """
    error = web.HTTPError(status, reason=HTTPStatus(status).phrase)
    error.jupyterhub_message = sentence  # type: ignore[attr-defined]
    return error


def read_state(text: str) -> dict[str, Any]:
    """The OAuth state as a map; empty for anything that this hub cannot have written.

    oauthenticator logs a state that it cannot read in full, so long ones do not get that far.
    """
    if not text or len(text) > STATE_CHARACTERS_MAX or not text.isascii():
        return {}
    state = _deserialize_state(text)
    return state if isinstance(state, dict) else {}


class VesslLoginHandler(OAuthLoginHandler):
    """Sends the browser to the provider, with a nonce that only this browser's signed state cookie knows."""

    _authorize_url = ""
    _nonce = ""

    async def get(self) -> None:
        self._authorize_url = await self.authenticator.authorize_url_now()
        self._nonce = secrets.token_urlsafe(32)
        super().get()

    @property
    def _OAUTH_AUTHORIZE_URL(self) -> str:
        return self._authorize_url

    def set_state_cookie(self, state_cookie_value: str) -> None:
        super().set_state_cookie(_serialize_state({**_deserialize_state(state_cookie_value), "nonce": self._nonce}))

    def authorize_redirect(self, *args: Any, **kwargs: Any) -> None:
        kwargs["extra_params"] = {**(kwargs.get("extra_params") or {}), "nonce": self._nonce}
        super().authorize_redirect(*args, **kwargs)


class VesslCallbackHandler(OAuthCallbackHandler):
    """Takes the browser back from the provider; whatever it brings is checked before anything is asked with it."""

    def check_error(self) -> None:
        error = self.get_argument("error", "")
        if error:
            raise sign_in_page(403, f"You were not signed in: the sign-in provider answered {bounded(error, 40)}.")

    def check_code(self) -> None:
        if not self.get_argument("code", ""):
            raise sign_in_page(400, "This page is a step of signing in. Start from the hub's first page.")

    def check_state(self) -> None:
        expected = str(read_state(self.get_state_cookie()).get("state_id") or "")
        given = str(read_state(self.get_argument("state", "")).get("state_id") or "")
        if not expected or not hmac.compare_digest(expected.encode(), given.encode()):
            raise sign_in_page(400, "This sign-in was started in another browser, or too long ago. Start it again.")
