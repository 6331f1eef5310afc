"""Which id_tokens are genuine: signatures, keys, issuer, audience, times and nonce."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jupyterhub_vessl_authenticator.provider import ProviderDocument, ProviderUnavailable, SignInRefused
from jupyterhub_vessl_authenticator.tokens import TokenVerifier, merged_claims, parse_keys
from lying_provider import jwk, new_key, pem, signed, signed_symmetrically, unsigned

ISSUER, CLIENT, SECRET, NONCE = "https://sso.acme.example", "the-hub", "a client secret, long enough to sign", "n-1"
KEY, OTHER_KEY = new_key(), new_key()


class Keys:
    """A provider's key set: what it publishes now, and how often it was asked."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys, self.fetches, self.now = list(keys), 0, 1000.0

    async def fetch(self) -> object:
        self.fetches += 1
        return {"keys": self.keys}

    def verifier(self, *, algorithms: tuple[str, ...] = ("RS256", "ES256"), leeway_seconds: int = 0) -> TokenVerifier:
        document = ProviderDocument(self.fetch, parse_keys, clock=lambda: self.now)
        return TokenVerifier(
            document, issuer=ISSUER, client_id=CLIENT, algorithms=algorithms, leeway_seconds=leeway_seconds
        )


@pytest.fixture
def keys() -> Keys:
    return Keys(jwk(KEY, "honest"))


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a genuine token; None takes one out."""
    now = int(time.time())
    all_claims = {"iss": ISSUER, "sub": "mia", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": NONCE, **changes}
    return {name: value for name, value in all_claims.items() if value is not None}


async def test_a_genuine_token_gives_its_claims(keys: Keys):
    expected = claims(groups=["a"])
    assert await keys.verifier().claims(signed(expected, KEY), nonce=NONCE) == expected


NOW = int(time.time())
FORGED = {
    "unsigned": (unsigned(claims()), "signed with none"),
    "signed by another key": (signed(claims(), OTHER_KEY), "InvalidSignatureError"),
    "signed with the public key as a secret": (signed_symmetrically(claims(), pem(KEY)), "signed with HS256"),
    "signed with the client secret": (jwt.encode(claims(), SECRET, algorithm="HS256"), "signed with HS256"),
    "signature of another token": (
        signed(claims(sub="ada"), KEY).rsplit(".", 1)[0] + "." + signed(claims(), KEY).rsplit(".", 1)[1],
        "InvalidSignatureError",
    ),
    "signature cut off": (signed(claims(), KEY).rsplit(".", 1)[0] + ".", "InvalidSignatureError"),
    "another issuer": (signed(claims(iss="https://evil.example"), KEY), "InvalidIssuerError"),
    "issuer with a longer name": (signed(claims(iss=ISSUER + ".evil.example"), KEY), "InvalidIssuerError"),
    "another audience": (signed(claims(aud="another-client"), KEY), "InvalidAudienceError"),
    "shared audience without azp": (signed(claims(aud=[CLIENT, "another"]), KEY), "wrong azp"),
    "issued to another party": (signed(claims(aud=[CLIENT, "x"], azp="x"), KEY), "wrong azp"),
    "expired": (signed(claims(iat=NOW - 600, exp=NOW - 300), KEY), "ExpiredSignatureError"),
    "from the future": (signed(claims(iat=NOW + 3000, exp=NOW + 6000), KEY), "ImmatureSignatureError"),
    "without expiry": (signed(claims(exp=None), KEY), "MissingRequiredClaimError"),
    "without issue time": (signed(claims(iat=None), KEY), "MissingRequiredClaimError"),
    "without issuer": (signed(claims(iss=None), KEY), "MissingRequiredClaimError"),
    "without audience": (signed(claims(aud=None), KEY), "MissingRequiredClaimError"),
    "without subject": (signed(claims(sub=None), KEY), "MissingRequiredClaimError"),
    "subject not text": (signed(claims(sub=""), KEY), "names no person"),
    "nonce of another sign-in": (signed(claims(nonce="n-2"), KEY), "wrong nonce"),
    "empty nonce": (signed(claims(nonce=""), KEY), "wrong nonce"),
    "nonce not text": (signed(claims(nonce=["n-1"]), KEY), "wrong nonce"),
    "key never published": (signed(claims(), OTHER_KEY, kid="unheard-of"), "does not publish"),
    "missing": (None, "gave no id_token"),
    "empty": ("", "gave no id_token"),
    "not text": (["token"], "gave no id_token"),
    "not a token": ("a.b.c", "cannot be read"),
    "too long": ("x" * 100_000, "too long"),
}


@pytest.mark.parametrize("case", FORGED)
async def test_a_token_that_is_not_genuine_is_refused(keys: Keys, case: str):
    token, reason = FORGED[case]
    with pytest.raises(SignInRefused, match=reason) as refusal:
        await keys.verifier().claims(token, nonce=NONCE)
    shown = str(refusal.value)
    assert len(shown) < 300
    assert not any(part and part in shown for part in str(token or "").split(".") if len(part) > 8)


async def test_a_header_that_brings_its_own_key_is_not_believed(keys: Keys):
    headers = {"jwk": jwk(OTHER_KEY, "honest"), "jku": "https://evil.example/jwks", "kid": "honest"}
    token = jwt.encode(claims(), OTHER_KEY, algorithm="RS256", headers=headers)
    with pytest.raises(SignInRefused):
        await keys.verifier().claims(token, nonce=NONCE)
    assert keys.fetches == 1


async def test_a_secret_among_the_published_keys_signs_nothing(keys: Keys):
    keys.keys.append({"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"})
    token = jwt.encode(claims(), b"secret-secret-secret-secret", algorithm="HS256", headers={"kid": "shared"})
    with pytest.raises(SignInRefused):
        await keys.verifier().claims(token, nonce=NONCE)


async def test_a_key_published_for_encryption_signs_nothing(keys: Keys):
    keys.keys.append({**jwk(OTHER_KEY, "encryption"), "use": "enc"})
    with pytest.raises(SignInRefused, match="does not publish"):
        await keys.verifier().claims(signed(claims(), OTHER_KEY, kid="encryption"), nonce=NONCE)


async def test_an_algorithm_that_is_not_configured_is_refused(keys: Keys):
    with pytest.raises(SignInRefused, match="signed with RS256"):
        await keys.verifier(algorithms=("ES256",)).claims(signed(claims(), KEY), nonce=NONCE)


async def test_an_elliptic_curve_signature_is_accepted(keys: Keys):
    key = ec.generate_private_key(ec.SECP256R1())
    keys.keys.append({**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "curve"})
    token = jwt.encode(claims(), key, algorithm="ES256", headers={"kid": "curve"})
    assert (await keys.verifier().claims(token, nonce=NONCE))["sub"] == "mia"


async def test_a_provider_without_nonces_is_accepted(keys: Keys):
    assert await keys.verifier().claims(signed(claims(nonce=None), KEY), nonce=NONCE)


async def test_a_nonce_is_refused_where_none_was_sent(keys: Keys):
    with pytest.raises(SignInRefused, match="nonce"):
        await keys.verifier().claims(signed(claims(), KEY), nonce=None)


async def test_clocks_may_differ_by_the_leeway_and_no_more(keys: Keys):
    late = signed(claims(iat=NOW - 600, exp=int(time.time()) - 60), KEY)
    assert await keys.verifier(leeway_seconds=300).claims(late, nonce=NONCE)
    with pytest.raises(SignInRefused, match="Expired"):
        await keys.verifier(leeway_seconds=30).claims(late, nonce=NONCE)


async def test_keys_are_fetched_once_for_many_tokens(keys: Keys):
    verifier = keys.verifier()
    for _ in range(5):
        await verifier.claims(signed(claims(), KEY), nonce=NONCE)
    assert keys.fetches == 1


async def test_a_rotated_key_is_found_and_the_old_one_no_longer_counts(keys: Keys):
    verifier = keys.verifier()
    await verifier.claims(signed(claims(), KEY), nonce=NONCE)
    keys.keys = [jwk(OTHER_KEY, "rotated")]
    assert await verifier.claims(signed(claims(), OTHER_KEY, kid="rotated"), nonce=NONCE)
    with pytest.raises(SignInRefused):
        await verifier.claims(signed(claims(), KEY), nonce=NONCE)


async def test_made_up_key_ids_do_not_make_the_hub_fetch_keys_again_and_again(keys: Keys):
    verifier = keys.verifier()
    for number in range(20):
        with pytest.raises(SignInRefused):
            await verifier.claims(signed(claims(), OTHER_KEY, kid=f"made-up-{number}"), nonce=NONCE)
    assert keys.fetches == 2
    keys.now += 60
    keys.keys = [jwk(OTHER_KEY, "made-up-1")]
    assert await verifier.claims(signed(claims(), OTHER_KEY, kid="made-up-1"), nonce=NONCE)


async def test_a_token_without_a_key_id_needs_a_provider_with_one_key(keys: Keys):
    token = signed(claims(), KEY, kid=None)
    assert await keys.verifier().claims(token, nonce=NONCE)
    keys.keys.append(jwk(OTHER_KEY, "second"))
    with pytest.raises(SignInRefused, match="does not publish"):
        await keys.verifier().claims(token, nonce=NONCE)


@pytest.mark.parametrize("document", [None, [], {}, {"keys": "x"}, {"keys": [1]}, {"keys": [{"kty": "oct"}]}])
def test_a_document_without_a_public_key_is_no_key_set(document):
    with pytest.raises(ProviderUnavailable):
        parse_keys(document)


async def test_a_key_that_cannot_be_read_refuses_the_token(keys: Keys):
    keys.keys = [{"kty": "RSA", "kid": "honest", "n": "AQ", "e": ["AQAB"]}]
    with pytest.raises(SignInRefused):
        await keys.verifier().claims(signed(claims(), KEY), nonce=NONCE)


def test_userinfo_is_fresher_than_the_id_token_but_never_about_somebody_else():
    verified = {"iss": ISSUER, "sub": "mia", "groups": ["old"], "name": "Mia"}
    merged = merged_claims(verified, {"sub": "mia", "iss": "x", "groups": ["new"], "email": "m@acme.example"})
    assert merged == {"iss": ISSUER, "sub": "mia", "groups": ["new"], "name": "Mia", "email": "m@acme.example"}
    for userinfo in ({"sub": "ada", "groups": []}, {"groups": []}):
        with pytest.raises(SignInRefused, match="different people"):
            merged_claims(verified, userinfo)
