"""Proof that an id_token was issued by our provider, for us, for this sign-in, and is still good.

The rules are those of OpenID Connect Core 3.1.3.7. oauthenticator reads id_tokens without verifying them, so
this is the only place that decides whether a sign-in is genuine.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from typing import Any

import jwt

from jupyterhub_vessl.model.text import bounded

from .provider import ProviderDocument, ProviderUnavailable, SignInRefused

ASYMMETRIC_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""What may sign an id_token. HS* is left out: its key would be public, or a secret that the hub shares."""

ID_TOKEN_CHARACTERS_MAX = 64 * 1024
PROTOCOL_CLAIMS = ("sub", "iss", "aud", "azp", "exp", "iat", "nonce")
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

Claims = dict[str, Any]
Jwk = Mapping[str, Any]


def parse_keys(document: object) -> tuple[Jwk, ...]:
    """The public signing keys of a JWKS document; raises `ProviderUnavailable` when it has none."""
    keys = document.get("keys") if isinstance(document, Mapping) else None
    found = tuple(
        key
        for key in (keys if isinstance(keys, list) else [])
        if isinstance(key, Mapping) and key.get("kty") in _KEY_TYPES.values() and key.get("use", "sig") == "sig"
    )
    if not found:
        raise ProviderUnavailable("its key set holds no public signing key")
    return found


class TokenVerifier:
    """Verifies id_tokens of one issuer for one client.

    Parameters
    ----------
    keys
        The provider's JWKS; fetched again once when a token names a key that it does not hold.
    algorithms
        Accepted signatures, a choice of `ASYMMETRIC_ALGORITHMS`.
    leeway_seconds
        How far the clocks of provider and hub may differ.
    """

    def __init__(
        self,
        keys: ProviderDocument[tuple[Jwk, ...]],
        *,
        issuer: str,
        client_id: str,
        algorithms: Collection[str],
        leeway_seconds: int,
    ) -> None:
        self._keys = keys
        self._issuer, self._client_id = issuer, client_id
        self._algorithms, self._leeway_seconds = frozenset(algorithms), leeway_seconds

    async def claims(self, id_token: object, *, nonce: str | None) -> Claims:
        """The claims of a genuine id_token; ``nonce`` is the one this sign-in sent, if any.

        Raises `SignInRefused` for everything else, and `ProviderUnavailable` when the keys cannot be had.
        """
        if not isinstance(id_token, str) or not id_token:
            raise SignInRefused("the provider gave no id_token")
        if len(id_token) > ID_TOKEN_CHARACTERS_MAX:
            raise SignInRefused("the id_token is too long")
        # an exception's own text could carry parts of the token, so only its class is told
        try:
            header = jwt.get_unverified_header(id_token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise SignInRefused(f"the id_token cannot be read: {type(error).__name__}") from None
        algorithm = header.get("alg")
        if algorithm not in self._algorithms:
            raise SignInRefused(f"the id_token is signed with {bounded(algorithm, 20)}, which is not accepted")
        key = await self._key(header.get("kid"), algorithm)
        try:
            claims = jwt.decode(
                id_token,
                key=jwt.PyJWK(dict(key), algorithm=algorithm).key,
                algorithms=[algorithm],
                audience=self._client_id,
                issuer=self._issuer,
                leeway=self._leeway_seconds,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise SignInRefused(f"the id_token does not hold: {type(error).__name__}") from None
        self._check_recipient(claims)
        if "nonce" in claims and not hmac.compare_digest(str(claims["nonce"]).encode(), (nonce or "").encode()):
            raise SignInRefused("the id_token belongs to another sign-in: wrong nonce")
        return claims

    async def _key(self, kid: object, algorithm: str) -> Jwk:
        """The one key that can have signed it; a token without a key id is taken if there is no choice."""
        for afresh in (False, True):
            keys = await self._keys.get(afresh=afresh)
            found = [
                key
                for key in keys
                if key["kty"] == _KEY_TYPES[algorithm[:2]]
                and key.get("alg", algorithm) == algorithm
                and (kid is None or key.get("kid") == kid)
            ]
            if len(found) == 1:
                return found[0]
        raise SignInRefused(f"the id_token is signed with a key that the provider does not publish: {bounded(kid, 60)}")

    def _check_recipient(self, claims: Claims) -> None:
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise SignInRefused("the id_token names no person")
        audience = claims["aud"]
        shared = isinstance(audience, list) and len(audience) > 1
        if (shared or "azp" in claims) and claims.get("azp") != self._client_id:
            raise SignInRefused("the id_token was issued to another client: wrong azp")


def identity_only(verified: Claims) -> Claims:
    """What still holds of an id_token that has expired: who it was about."""
    return {name: verified[name] for name in ("iss", "sub") if name in verified}


def merged_claims(verified: Claims, userinfo: Claims) -> Claims:
    """One person's claims: userinfo first, the id_token for what userinfo leaves out.

    Userinfo is what the provider says now, an id_token what it said at sign-in. The same order at sign-in and
    at every refresh keeps memberships from changing back and forth. The claims of the protocol itself, such as
    ``sub`` and ``iss``, are always those that were verified. Raises `SignInRefused` when userinfo is about
    somebody else (OpenID Connect Core 5.3.2).
    """
    if userinfo.get("sub") != verified["sub"]:
        raise SignInRefused("userinfo and id_token are about different people")
    return {**verified, **userinfo, **{name: verified[name] for name in PROTOCOL_CLAIMS if name in verified}}
