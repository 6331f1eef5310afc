"""A small OpenID Connect provider that publishes honest keys and, on request, gives forged tokens."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CLIENT_ID = "hub-under-test"


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    """The public half of a key, as a provider publishes it."""
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": kid, "use": "sig", "alg": "RS256"}


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(claims: dict[str, Any], key: rsa.RSAPrivateKey, kid: str | None = "honest") -> str:
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid} if kid else None)


def unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, None, algorithm="none", headers={"kid": "honest"})


def signed_symmetrically(claims: dict[str, Any], secret: bytes) -> str:
    """HS256 by hand: PyJWT rightly refuses to use a public key as a shared secret."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    header = {"alg": "HS256", "typ": "JWT", "kid": "honest"}
    head = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{head}.{encoded(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"


class LyingProvider:
    """Everybody signs in as ``sub``; ``lie`` names what is wrong with the answers, "" for nothing.

    Lies: ``unsigned``, ``other key``, ``symmetric``, ``no token``, ``nonce``, ``userinfo`` (about somebody else),
    ``down`` (userinfo and token endpoint answer 503), ``renewal`` (a renewed id_token about somebody else).
    Id_tokens are good for ``id_token_seconds``; ``renewals`` counts the uses of the refresh token.
    """

    def __init__(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.sub, self.groups, self.lie = "mia", ["/acme/vision/members"], ""
        self.key, self.other_key = new_key(), new_key()
        self.id_token_seconds, self.renewals = 300, 0
        self.nonces: dict[str, str] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def id_token(self, nonce: str, *, sub: str) -> str | None:
        now = int(time.time())
        claims = {"iss": self.url, "sub": sub, "aud": CLIENT_ID, "iat": now}
        claims["exp"] = now + self.id_token_seconds
        claims |= {"nonce": "another" if self.lie == "nonce" else nonce, "groups": self.groups}
        if self.lie == "no token":
            return None
        if self.lie == "unsigned":
            return unsigned(claims)
        if self.lie == "symmetric":
            return signed_symmetrically(claims, pem(self.key))
        return signed(claims, self.other_key if self.lie == "other key" else self.key)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, Any] | str]:
        """Status and JSON, or status 302 and a location."""
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo"}
            return 200, {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"} | {
                name: f"{self.url}/{at}" for name, at in names.items()
            }
        if path == "/jwks":
            return 200, {"keys": [jwk(self.key, "honest")]}
        if path == "/authorize":
            self.nonces["code"] = query["nonce"]
            return 302, f"{query['redirect_uri']}?{urlencode({'code': 'code', 'state': query['state']})}"
        if self.lie == "down":
            return 503, {"error": "maintenance"}
        if path == "/token":
            renewal = query["grant_type"] == "refresh_token"
            self.renewals += renewal
            token = self.id_token(self.nonces["code"], sub="ada" if renewal and self.lie == "renewal" else self.sub)
            answer = {"access_token": "access", "refresh_token": "refresh", "token_type": "Bearer"}
            return 200, answer | ({"id_token": token} if token else {})
        if path == "/userinfo":
            return 200, {"sub": "ada" if self.lie == "userinfo" else self.sub, "groups": self.groups}
        return 404, {}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(f"{parts.query}&{body}").items()}
                status, answer = provider.answer(parts.path, query)
                content = b"" if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                if isinstance(answer, str):
                    self.send_header("Location", answer)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *args: Any) -> None:
                """Say nothing: a test's output is for its failures."""

        return Handler
