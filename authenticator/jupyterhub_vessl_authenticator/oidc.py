"""The authenticator: signs people in at an OpenID Connect provider and carries their memberships as hub groups."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from oauthenticator.generic import GenericOAuthenticator
from tornado.httpclient import AsyncHTTPClient
from tornado.httputil import url_concat
from traitlets import Callable as CallableTrait
from traitlets import Integer, List, TraitError, Unicode, Union, default, validate

from jupyterhub_vessl.model.catalog import Offer
from jupyterhub_vessl.model.text import bounded
from jupyterhub_vessl.offer import load_offer

from .handlers import VesslCallbackHandler, VesslLoginHandler, read_state, sign_in_page
from .memberships import hub_groups, no_team_sentence, trusted_claims, whom_to_ask
from .provider import (
    DISCOVERY_PATH,
    Endpoints,
    ProviderDocument,
    ProviderUnavailable,
    SignInRefused,
    fetch_map,
    parse_discovery,
)
from .tokens import ASYMMETRIC_ALGORITHMS, Claims, Jwk, TokenVerifier, identity_only, merged_claims, parse_keys

VERIFIED_CLAIMS_KEY = "verified_claims"
"""Where the token response keeps the claims of its verified id_token; auth state stores it with the rest."""

USERNAME_CHARACTERS_MAX = 255
CONNECT_SECONDS_MAX = 5
REQUEST_SECONDS_MAX = 10


class VesslOIDCAuthenticator(GenericOAuthenticator):
    """Signs people in with verified OpenID Connect, and lets in exactly those who belong to a team.

    An id_token is verified (signature, issuer, audience, times, nonce) and joined with userinfo. The rules of
    ``identity.rules`` in vessl.yaml turn these claims into memberships, which become the person's hub groups;
    nothing else of a request is trusted. Settings that let people in by name (``allow_all``,
    ``allowed_users`` …) cannot let in somebody without a membership.
    """

    login_handler = VesslLoginHandler
    callback_handler = VesslCallbackHandler

    issuer = Unicode(
        config=True,
        help="""
        URL of the OpenID Connect provider, as its tokens name it in ``iss``.

        Its discovery document gives every address that is not configured by itself; it is read at the first
        sign-in, so the hub starts without the provider. Without https, anyone on the way can forge sign-ins.

        Example: ``c.VesslOIDCAuthenticator.issuer = "https://sso.acme.example/realms/acme"``
        """,
    )

    offer_file = Unicode(
        config=True,
        help="""
        Path of vessl.yaml, whose ``identity`` section says which claims make a membership.

        Read once at hub start, which fails when the file is wrong; restart the hub to read it again.

        Example: ``c.VesslOIDCAuthenticator.offer_file = "/etc/jupyterhub/vessl.yaml"``
        """,
    )

    jwks_url = Unicode(
        config=True,
        help="""
        Address of the provider's public keys.

        Empty takes it from the discovery document. Keys are kept for an hour, and fetched again when a token
        names a new one.

        Example: ``c.VesslOIDCAuthenticator.jwks_url = "https://sso.acme.example/keys"``
        """,
    )

    algorithms = List(
        Unicode(),
        default_value=["RS256", "ES256"],
        minlen=1,
        config=True,
        help="""
        Signatures that an id_token may carry.

        Only asymmetric ones can be chosen: with HS* or ``none`` anyone who knows the client secret, or nothing
        at all, could sign in as anybody.

        Example: ``c.VesslOIDCAuthenticator.algorithms = ["RS256", "PS256", "EdDSA"]``
        """,
    )

    leeway_seconds = Integer(
        30,
        min=0,
        max=600,
        config=True,
        help="""
        Seconds by which the clocks of the provider and the hub may differ.

        An expired id_token is accepted for this long.

        Example: ``c.VesslOIDCAuthenticator.leeway_seconds = 5``
        """,
    )

    scope = List(
        Unicode(),
        default_value=["openid", "profile", "email", "groups"],
        config=True,
        help="""
        OAuth scopes to ask the provider for.

        ``openid`` is needed for an id_token. A provider may refuse scopes that it does not know; leave out
        ``groups`` there.

        Example: ``c.VesslOIDCAuthenticator.scope = ["openid", "profile", "email", "offline_access"]``
        """,
    )

    username_claim = Union(
        [Unicode(), CallableTrait()],
        default_value="preferred_username",
        config=True,
        help="""
        Claim that gives the hub user name, or a function of the claims.

        Whoever can choose the value of this claim can become that hub user, so the provider must keep it unique
        and give it to nobody twice. ``email`` counts only when the provider says that it is verified.

        Example: ``c.VesslOIDCAuthenticator.username_claim = "sub"``
        """,
    )

    @default("login_service")
    def _login_service_default(self) -> str:
        return os.environ.get("LOGIN_SERVICE", "SSO")

    @default("manage_groups")
    def _manage_groups_default(self) -> bool:
        return True

    @default("any_allow_config")
    def _any_allow_config_default(self) -> bool:
        # memberships allow; without this the hub warns that nobody could ever sign in
        return True

    @default("enable_auth_state")
    def _enable_auth_state_default(self) -> bool:
        return bool(os.environ.get("JUPYTERHUB_CRYPT_KEY") or self.config.CryptKeeper.get("keys"))

    @default("http_client")
    def _http_client_default(self) -> AsyncHTTPClient:
        limits = {"connect_timeout": CONNECT_SECONDS_MAX, "request_timeout": REQUEST_SECONDS_MAX}
        return AsyncHTTPClient(force_instance=True, defaults=limits)

    @validate("manage_groups")
    def _validate_manage_groups(self, proposal: Any) -> bool:
        if not proposal.value:
            raise TraitError("manage_groups stays True: hub groups are what carries memberships")
        return True

    @validate("issuer")
    def _validate_issuer(self, proposal: Any) -> str:
        value = str(proposal.value).removesuffix(DISCOVERY_PATH)
        if not value.startswith(("https://", "http://")):
            raise TraitError("issuer is a URL such as https://sso.acme.example/realms/acme")
        return value

    @validate("algorithms")
    def _validate_algorithms(self, proposal: Any) -> list[str]:
        refused = [name for name in proposal.value if name not in ASYMMETRIC_ALGORITHMS]
        if refused:
            raise TraitError(f"algorithms may be {', '.join(ASYMMETRIC_ALGORITHMS)}; not {', '.join(refused)}")
        return list(proposal.value)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._verifiers: dict[Endpoints, TokenVerifier] = {}
        self._refreshing: dict[str, asyncio.Future[Any]] = {}

    @cached_property
    def offer(self) -> Offer:
        """The offer of ``offer_file``; raises `OfferError` with every mistake in it."""
        return load_offer(self.offer_file)

    def get_handlers(self, app: Any) -> list[Any]:
        """The sign-in pages; called at hub start, so what is wrong with the configuration is told here."""
        missing = [name for name in ("issuer", "client_id", "offer_file") if not getattr(self, name)]
        if missing:
            raise ValueError(f"VesslOIDCAuthenticator needs {', '.join(missing)}")
        if not self.offer.identity.rules:
            self.log.warning("%s has no identity.rules, so nobody can sign in", self.offer_file)
        if not self.enable_auth_state:
            self.log.info(
                "Memberships are read at sign-in only; set JUPYTERHUB_CRYPT_KEY to re-read them while people work"
            )
        return super().get_handlers(app)

    # the provider

    @cached_property
    def _discovery(self) -> ProviderDocument[Endpoints]:
        url = self.issuer.rstrip("/") + DISCOVERY_PATH
        return ProviderDocument(self._document(url), lambda document: parse_discovery(self.issuer, document))

    async def endpoints(self) -> Endpoints:
        """The provider's addresses: configured ones first, discovery for the rest. Raises `ProviderUnavailable`."""
        configured = {
            "authorization_endpoint": self.authorize_url,
            "token_endpoint": self.token_url,
            "userinfo_endpoint": self.userdata_url,
            "jwks_uri": self.jwks_url,
        }
        given = {name: url for name, url in configured.items() if url}
        if len(given) == len(configured):
            return Endpoints.model_validate({"issuer": self.issuer, **given})
        found = await self._discovery.get()
        return Endpoints.model_validate({**found.model_dump(by_alias=True), **given})

    async def authorize_url_now(self) -> str:
        """Where to send a browser; raises the page that says that the provider cannot be reached."""
        try:
            return (await self.endpoints()).authorize_url
        except ProviderUnavailable as error:
            raise self._unavailable_page(error) from None

    def _verifier(self, endpoints: Endpoints) -> TokenVerifier:
        if endpoints not in self._verifiers:
            keys: ProviderDocument[tuple[Jwk, ...]] = ProviderDocument(self._document(endpoints.jwks_url), parse_keys)
            self._verifiers = {
                endpoints: TokenVerifier(
                    keys,
                    issuer=endpoints.issuer,
                    client_id=self.client_id,
                    algorithms=self.algorithms,
                    leeway_seconds=self.leeway_seconds,
                )
            }
        return self._verifiers[endpoints]

    def _document(self, url: str) -> Callable[[], Awaitable[object]]:
        async def fetch() -> object:
            try:
                return await self._fetch_map(url)
            except SignInRefused as error:  # a 4xx here is about the provider, not about a person
                raise ProviderUnavailable(str(error)) from None

        return fetch

    async def _fetch_map(self, url: str, **request: Any) -> dict[str, Any]:
        """Ask through the hub's own client, so that its proxy and CA settings count; raises as `fetch_map`."""
        return await fetch_map(self.httpfetch, url, validate_cert=self.validate_server_cert, **request)

    async def get_token_info(self, handler: Any, params: dict[str, Any]) -> dict[str, Any]:
        """Exchange a code or a refresh token. Raises `SignInRefused` or `ProviderUnavailable`."""
        token_info = await self._fetch_map(
            (await self.endpoints()).token_url,
            method="POST",
            headers=self.build_token_info_request_headers(),
            body=urlencode(params).encode(),
        )
        if not isinstance(token_info.get("access_token"), str):
            raise SignInRefused("the provider gave no access token")
        return token_info

    async def token_to_user(self, token_info: dict[str, Any]) -> Claims:
        """The person's claims: userinfo over the verified id_token. Raises `SignInRefused`, `ProviderUnavailable`."""
        verified = token_info[VERIFIED_CLAIMS_KEY]
        url = (await self.endpoints()).userinfo_url
        if self.userdata_from_id_token or not url:
            return dict(verified)
        url = url_concat(url, self.userdata_params)
        access_token = token_info["access_token"]
        if self.userdata_token_method == "url":  # noqa: S105  the name of a method, not a secret
            url = url_concat(url, {"access_token": access_token})
        headers = self.build_userdata_request_headers(access_token, str(token_info.get("token_type", "Bearer")))
        return merged_claims(verified, await self._fetch_map(url, headers=headers))

    # signing in

    async def authenticate(self, handler: Any, data: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Sign somebody in who comes back from the provider; raises the page that tells them why not."""
        params = self.build_access_tokens_request_params(handler, data)
        nonce = read_state(handler.get_state_cookie()).get("nonce")
        try:
            token_info = await self.get_token_info(handler, params)
            verifier = self._verifier(await self.endpoints())
            token_info[VERIFIED_CLAIMS_KEY] = await verifier.claims(token_info.get("id_token"), nonce=nonce)
            auth_model = await self._token_to_auth_model(token_info)
        except SignInRefused as error:
            self.log.warning("Sign-in refused: %s", bounded(error))
            contact = whom_to_ask(self.offer)
            raise sign_in_page(
                403, f"Your sign-in could not be verified. Try again, and ask {contact} if it stays so."
            ) from None
        except ProviderUnavailable as error:
            raise self._unavailable_page(error) from None
        if not auth_model["groups"]:
            self.log.warning("Sign-in refused: %s belongs to no team", bounded(auth_model["name"], 64))
            raise sign_in_page(403, no_team_sentence(self.offer, auth_model["name"]))
        return auth_model

    def user_info_to_username(self, user_info: Claims) -> str:
        """The hub user name that the claims give; raises `SignInRefused` when they give none."""
        claims = trusted_claims(user_info)
        claim = self.username_claim
        name = claim(claims) if callable(claim) else claims.get(claim)
        if not isinstance(name, str) or not 0 < len(name) <= USERNAME_CHARACTERS_MAX:
            described = "the username_claim function" if callable(claim) else f"the claim {bounded(claim, 60)}"
            raise SignInRefused(f"{described} gives no user name")
        return name

    async def get_user_groups(self, auth_state: dict[str, Any]) -> set[str]:
        """The hub groups of the memberships that the claims in auth state give."""
        return set(hub_groups(self.offer, auth_state[self.user_auth_state_key]))

    async def check_allowed(self, username: str, auth_model: dict[str, Any] | None = None) -> bool:
        """Whether somebody may come in: exactly when they have a membership."""
        return auth_model is None or bool(auth_model.get("groups"))

    def _unavailable_page(self, error: ProviderUnavailable) -> Exception:
        self.log.error("The sign-in provider %s cannot be used: %s", bounded(self.issuer), bounded(error, 400))
        return sign_in_page(503, "The sign-in provider cannot be reached. Try again in a minute.")

    # staying signed in

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> bool | dict[str, Any]:
        """Re-read somebody's memberships; False makes them sign in again.

        While the provider does not answer, what is known stays. Requests of one person at the same time share
        one refresh, because providers treat a refresh token that is used twice as stolen.
        """
        if not self.enable_auth_state:
            return True
        running = self._refreshing.get(user.name)
        if running is None:
            running = self._refreshing[user.name] = asyncio.ensure_future(self._refreshed(user, handler))
            running.add_done_callback(lambda _: self._refreshing.pop(user.name, None))
        answer = await asyncio.shield(running)
        if not answer and handler is not None and not hasattr(handler, "_token_authenticated"):
            # JupyterHub 6.1 reads this for every failed refresh but sets it only for requests with a token;
            # without it, asking somebody to sign in again ends in an AttributeError
            handler._token_authenticated = False
        return answer

    async def _refreshed(self, user: Any, handler: Any) -> bool | dict[str, Any]:
        auth_state = await user.get_auth_state()
        if self.refresh_user_hook is not None:
            answer = await self._call_refresh_user_hook(user, auth_state)
            if answer is not None:
                return answer
        name = bounded(user.name, 64)
        try:
            auth_model = await self._current_auth_model(auth_state or {}, handler)
        except ProviderUnavailable as error:
            self.log.warning("The memberships of %s stay as they are: %s", name, bounded(error))
            return True
        except SignInRefused as error:
            self.log.info("%s has to sign in again: %s", name, bounded(error))
            return False
        if not auth_model["groups"]:
            self.log.warning("%s no longer belongs to a team and is signed out", name)
            # the hub keeps groups when a refresh fails, and API tokens would go on vouching for them
            user.sync_groups([])
            return False
        return {**auth_model, "name": user.name}  # the subject is the same, whatever they are called now

    async def _current_auth_model(self, auth_state: dict[str, Any], handler: Any) -> dict[str, Any]:
        token_info = auth_state.get("token_response") or {}
        verified = token_info.get(VERIFIED_CLAIMS_KEY)
        if not verified:
            raise SignInRefused("no verified sign-in is on record")
        refresh_token = auth_state.get("refresh_token")
        expired = verified.get("exp", 0) <= time.time()
        if expired and not refresh_token:
            token_info = {**token_info, VERIFIED_CLAIMS_KEY: identity_only(verified)}
        if not expired or not refresh_token:
            try:
                return await self._token_to_auth_model(token_info)
            except SignInRefused:  # the access token has ended before the id_token
                if not refresh_token:
                    raise
        fresh = await self.get_token_info(handler, self.build_refresh_token_request_params(refresh_token))
        fresh["refresh_token"] = fresh.get("refresh_token") or refresh_token
        fresh[VERIFIED_CLAIMS_KEY] = identity_only(verified)
        if fresh.get("id_token"):
            verifier = self._verifier(await self.endpoints())
            claims = await verifier.claims(fresh["id_token"], nonce=verified.get("nonce"))
            if claims["sub"] != verified["sub"]:
                raise SignInRefused("the refreshed id_token is about somebody else")
            fresh[VERIFIED_CLAIMS_KEY] = claims
        return await self._token_to_auth_model(fresh)
