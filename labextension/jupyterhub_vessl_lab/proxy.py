"""The hardened port proxy: jupyter-server-proxy's addresses and named servers, with our own way of passing requests on.

This is the only module that knows jupyter-server-proxy. Its handler classes stay what decides *where* a request goes
(ports, hosts, named servers, their processes, `mappath`); ours slips in underneath them, between each of them and
their common base class `ProxyHandler`, and replaces *how* it goes there.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import quote

import jupyter_server_proxy  # type: ignore[import-untyped]
from jupyter_server_proxy.handlers import ProxyHandler, RewritableResponse  # type: ignore[import-untyped]
from jupyter_server_proxy.rawsocket import RawSocketHandler  # type: ignore[import-untyped]
from jupyter_server_proxy.utils import call_with_asked_args  # type: ignore[import-untyped]
from tornado import httpclient, httputil, routing, web
from tornado.iostream import StreamClosedError

from jupyterhub_vessl.model.errors import NotAllowed, NotFound, PublicError, Unavailable

from . import proxy_headers as heads
from .proxy_gate import check_site, check_size
from .proxy_pages import RETRY_SECONDS, BadAnswer, HostNotAllowed, NothingListens, page, wants_page
from .proxy_stream import Answer, AnswerBroken, UploadPipe, ask
from .proxy_targets import Target, check_not_own, check_port, resolve
from .proxy_tunnel import connect, handshake, tunnel
from .settings import VesslLab, settings_or_defaults

REWRITE_BYTES_MAX = 64 * 1024 * 1024
"""The longest answer that an operator's `rewrite_response` function gets to see; it needs the whole in memory."""
REFUSED_BODY_BYTES_MAX = 1024 * 1024
"""The body of a refused request is read and dropped up to this length, so that the refusal arrives."""
ACTIVITY_SECONDS = 1.0
"""Activity of a long stream is recorded at most this often."""

_METHODS = ("head", "post", "put", "patch", "delete", "options")


def add_proxy(serverapp: Any) -> int:
    """Put the hardened handlers in the place of jupyter-server-proxy's; returns how many routes they serve.

    Works whether its own server extension is enabled or not, and in either order: when its routes are missing they
    are made now, by its own loader, and those that it may add later come after ours and get no request. A named
    server's process belongs to its route, so it is started once.
    """
    routes = list(_proxy_rules(serverapp.web_app))
    if not routes:
        jupyter_server_proxy._load_jupyter_server_extension(serverapp)
        routes = list(_proxy_rules(serverapp.web_app))
    settings = settings_or_defaults(serverapp)
    for rule in routes:
        if not issubclass(rule.target, HardenedProxyHandler):
            rule.target = _harden(rule.target, rule.matcher.regex, settings)
    return len(routes)


def _proxy_rules(web_app: web.Application) -> Iterator[Any]:
    routers: list[Any] = [web_app.default_router, web_app.wildcard_router]
    for router in routers:
        for rule in router.rules:
            if isinstance(rule.target, routing.RuleRouter):
                if rule.target not in routers:
                    routers.append(rule.target)
            elif isinstance(rule.target, type) and issubclass(rule.target, ProxyHandler):
                yield rule


def _harden(handler: type[ProxyHandler], route: Any, settings: VesslLab) -> type[HardenedProxyHandler]:
    """A class that behaves like `handler` with our methods in the place of `ProxyHandler`'s."""
    methods = dict.fromkeys(_METHODS, HardenedProxyHandler.answer)
    names = {**methods, "get": HardenedProxyHandler.get_or_upgrade, "route": route}
    names["refuses_other_sites"] = settings.refuse_other_sites
    return type(f"Hardened{handler.__name__.lstrip('_')}", (handler, HardenedProxyHandler), names)


class _Moved(Exception):
    """The browser is to ask again at another path; an answer must not end before the request has."""


@web.stream_request_body
class HardenedProxyHandler(ProxyHandler):
    """Passes one request on to an app of this workspace, or says in one sentence why not."""

    route: Any = None  # the compiled pattern of the route, set by `_harden`
    refuses_other_sites = True  # what the operator said, set by `_harden`
    _exchange: asyncio.Future[None] | None = None
    _upstream: Any = None
    _touched_seconds = 0.0

    # --- the way in: who asks, for whom, and is the request small enough ---

    async def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Authenticate as jupyter-server-proxy does, then begin at once, so that a body can flow while it arrives."""
        self._upload = UploadPipe()
        # tornado closes the connection after an answer from here (the way to the login page), but does not say so
        self.set_header("Connection", "close")
        try:
            await super().prepare(*args, **kwargs)
            self.clear_header("Connection")
            if not self._finished:
                self._check_request()
        except (web.HTTPError, PublicError) as refusal:
            self._refuse_after_body(refusal)
        if self._finished or self._exchange is not None or self._wants_upgrade():
            return
        # a body passes through without being kept, so the server's limit for bodies in memory does not apply
        self.request.connection.set_max_body_size(sys.maxsize)
        self._exchange = asyncio.ensure_future(self.http_get(*self.path_args))
        self._exchange.add_done_callback(self._exchange_ended)

    def _check_request(self) -> None:
        check_size(self.request.headers.get_all())
        # browsers add cookies by themselves, a token only where somebody wrote it
        if self.refuses_other_sites and not self.token_authenticated:
            check_site(self.request.method or "", self.request.headers, self.allow_origin, self.allow_origin_pat)

    def _refuse_after_body(self, refusal: web.HTTPError | PublicError) -> None:
        """Let a short body arrive first: closing on unread bytes is a reset, and the browser would not see why."""
        length = self.request.headers.get("Content-Length", "0")
        sized = "Transfer-Encoding" not in self.request.headers and length.isdigit()
        if not sized or int(length[:20]) > REFUSED_BODY_BYTES_MAX or self._wants_upgrade():
            if not isinstance(refusal, PublicError):
                raise refusal
            self._refuse(refusal)
            return
        self._upload.abandon()
        self._exchange = asyncio.get_running_loop().create_future()
        self._exchange.add_done_callback(self._exchange_ended)
        self._exchange.set_exception(refusal)

    def _exchange_ended(self, exchange: asyncio.Future[None]) -> None:
        self._upload.abandon()
        if not exchange.cancelled():
            exchange.exception()  # read in `answer`, unless the browser is gone

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Paths need not be UTF-8: `request.path` is what counts, this only keeps tornado from refusing them."""
        return value.decode("utf-8", "surrogateescape") if name is None else super().decode_argument(value, name)

    async def data_received(self, chunk: bytes) -> None:
        """A piece of the request's body; the browser waits while the app is slow."""
        await self._upload.put(chunk)

    def on_connection_close(self) -> None:
        """The browser is gone: so is the request to the app."""
        if self._exchange is not None:
            self._exchange.cancel()
        self._upload.abandon()
        if self._upstream is not None:
            self._upstream.close()
        # tornado's WebSocket handler does not tell the one below it, which waits for the body
        web.RequestHandler.on_connection_close(self)
        super().on_connection_close()

    async def answer(self, *_: Any) -> None:
        """Every method but an upgrade: the body is complete now, wait until the answer is."""
        if self._exchange is None:  # `prepare` began one, or has answered
            return
        await self._upload.end()
        await asyncio.wait({self._exchange})
        if self._exchange.cancelled():
            self._break_off()
            return
        try:
            self._exchange.result()
        except (AnswerBroken, StreamClosedError) as error:
            self.log.debug("The answer of a proxied app ended early: %s", error)
            self._break_off()
        except _Moved as moved:
            self.redirect(str(moved))
        except PublicError as error:
            self._refuse(error)

    async def get_or_upgrade(self, *args: Any) -> None:
        """GET: an answer, or a WebSocket."""
        if not self._wants_upgrade():
            await self.answer()
        elif isinstance(self, RawSocketHandler):
            # an operator's raw TCP server: jupyter-server-proxy makes messages of its bytes
            await super().get(*args)
        elif not self.check_origin():
            self._refuse(NotAllowed("Another website tried to open this WebSocket."))
        else:
            try:
                await self.open(*args)
            except PublicError as error:
                self._refuse(error)

    def _wants_upgrade(self) -> bool:
        return self.request.method == "GET" and self.request.headers.get("Upgrade", "").lower() == "websocket"

    # --- where to ---

    async def _target(self, host: str, port: str | int) -> Target:
        if self.unix_socket is not None:
            return Target("its socket", 0, unix_socket=str(self.unix_socket))
        number = check_port(port)
        if not self._check_host_allowlist(host):
            raise HostNotAllowed("The proxy reaches this workspace only.", hint="Leave the host out of the address.")
        addresses = await resolve(host, number)
        own = {getattr(self.serverapp, "port", 0)}
        name = self.request.connection.stream.socket.getsockname()
        if isinstance(name, tuple):
            own.add(name[1])
        check_not_own(addresses, number, frozenset(own))
        return Target(f"port {number}", number, addresses)

    def _mount(self, target: Target) -> heads.Mount:
        raw = self.request.path
        prefix = raw[: len(raw) - len(self._raw_rest())].rstrip("/")
        return heads.Mount(prefix, self.absolute_url, self.request.host, target.port, self.base_url)

    def _raw_rest(self) -> str:
        """The part of the path behind the app's prefix, quoted as the browser quoted it."""
        return str(self.route.match(self.request.path).groups()[-1])

    def _path(self, proxied_path: str, mount: heads.Mount) -> str:
        rooted = "/" + self.path_args[-1].removeprefix("/")
        if "/" + proxied_path.removeprefix("/") == rooted:
            if mount.absolute:
                return heads.request_target(self.request.path)
            return heads.request_target("/" + self._raw_rest().removeprefix("/"))
        # a `mappath` of the operator made another one, and gave it unquoted
        mapped = quote(proxied_path, safe="/:?[]@!$&'()*+,;=-._~", errors="surrogateescape")
        return heads.request_target(mount.prefix + mapped if mount.absolute else mapped)

    def _secrets(self) -> heads.Secrets:
        provider = self.identity_provider
        tokens = {os.environ.get("JUPYTERHUB_API_TOKEN", ""), getattr(provider, "token", "")}
        if self.token_authenticated:
            header = self.request.headers.get("Authorization", "").partition(" ")[2].strip()
            tokens.add(self.get_query_argument("token", "") or header)
        hub_auth = getattr(provider, "hub_auth", None)
        cookies = {provider.get_cookie_name(self), getattr(hub_auth, "cookie_name", "")}
        return heads.Secrets(
            tokens=frozenset(token for token in tokens if token),
            cookies=frozenset(name.lower() for name in cookies if name),
            xsrf=frozenset(filter(None, [self.get_cookie("_xsrf")])),
        )

    def _outgoing(self, secrets: heads.Secrets, mount: heads.Mount) -> heads.Headers:
        headers = heads.request_headers(self.request.headers.get_all(), secrets, mount)
        headers += heads.forwarded_headers(mount)
        own = {name: str(value) for name, value in self.get_request_headers_override().items()}
        names = {name.lower() for name in own}
        return [pair for pair in headers if pair[0].lower() not in names] + list(own.items())

    # --- HTTP ---

    async def proxy(self, host: str, port: str | int, proxied_path: str) -> None:
        """Where jupyter-server-proxy's classes send every HTTP request."""
        target = await self._target(host, port)
        mount, secrets = self._mount(target), self._secrets()
        if not mount.absolute and not self._raw_rest() and self.request.method in ("GET", "HEAD"):
            # without the slash, the relative links of a page would lead out of the app
            query = heads.request_query(self.request.query, secrets)
            raise _Moved(f"{self.request.path}/" + (f"?{query}" if query else ""))
        sent = self.request.headers
        has_body = "Transfer-Encoding" in sent or sent.get("Content-Length", "0") != "0"
        async with ask(
            target,
            self.request.method or "GET",
            self._path(proxied_path, mount),
            heads.request_query(self.request.query, secrets),
            self._outgoing(secrets, mount),
            self._upload if has_body else None,
        ) as answer:
            self._touch()  # an app answered; the page that waits for one asks by itself, and is nobody's activity
            if self.rewrite_response:
                await self._rewritten(answer, secrets, mount, host, port, proxied_path)
                return
            self._begin(answer.status, answer.reason, heads.response_headers(answer.headers, secrets, mount))
            await web.RequestHandler.flush(self)
            async for piece in answer.chunks():
                self._touch()
                self.write(piece)
                await web.RequestHandler.flush(self)
        self._touch()

    def _begin(self, status: int, reason: str, headers: Any) -> None:
        self.set_status(status, reason or httputil.responses.get(status, "Unknown"))
        self._headers = httputil.HTTPHeaders()  # those of a page of Jupyter's own are not the app's
        for name, value in headers:
            try:
                self.add_header(name, value)
            except (ValueError, httputil.HTTPInputError):
                self.log.debug("A proxied app sent a header that cannot be passed on: %.40s", name)

    async def _rewritten(
        self, answer: Answer, secrets: heads.Secrets, mount: heads.Mount, host: str, port: str | int, path: str
    ) -> None:
        """Give the whole answer to the operator's `rewrite_response` functions, as jupyter-server-proxy does."""
        body = bytearray()
        async for piece in answer.chunks():
            body += piece
            if len(body) > REWRITE_BYTES_MAX:
                raise BadAnswer("The app's answer is too long to be rewritten.")
        headers = httputil.HTTPHeaders()
        for name, value in answer.headers:
            headers.add(name, value)
        request = httpclient.HTTPRequest(self.request.full_url(), method=self.request.method or "GET")
        whole = httpclient.HTTPResponse(request, answer.status, headers, BytesIO(bytes(body)), reason=answer.reason)
        original = rewritten = RewritableResponse(orig_response=whole)
        known = {"request": self.request, "orig_response": original, "host": host, "port": port, "path": path}
        rewrites = (
            self.rewrite_response if isinstance(self.rewrite_response, (list, tuple)) else [self.rewrite_response]
        )
        for rewrite in rewrites:
            rewritten = rewritten._apply_to_copy(
                lambda response, rewrite=rewrite: call_with_asked_args(rewrite, {"response": response, **known})
            )
        pairs = rewritten.headers.get_all() if hasattr(rewritten.headers, "get_all") else rewritten.headers.items()
        kept = [pair for pair in pairs if pair[0].lower() != "content-length" or self.request.method == "HEAD"]
        self._begin(rewritten.code, rewritten.reason, heads.response_headers(kept, secrets, mount))
        if rewritten.body and rewritten.code not in (204, 304):
            self.write(rewritten.body)

    # --- WebSocket ---

    async def proxy_open(self, host: str, port: str | int, proxied_path: str = "") -> None:
        """Where jupyter-server-proxy's classes send every WebSocket."""
        target = await self._target(host, port)
        mount, secrets = self._mount(target), self._secrets()
        query = heads.request_query(self.request.query, secrets)
        path = self._path(proxied_path, mount) + (f"?{query}" if query else "")
        self._upstream = await connect(target)
        reply = await handshake(self._upstream, target, path, self._outgoing(secrets, mount))
        if reply.stream is None:
            status = reply.status if reply.status >= 400 else 502
            self._begin(status, "", [("Content-Type", "text/plain; charset=utf-8")])
            self.finish(f"The app on {target.label} refused the WebSocket ({reply.status}).")
            return
        if self.request.connection.stream is None or self.request.connection.stream.closed():
            reply.stream.close()
            return
        kept = list(heads.response_headers(reply.headers, secrets, mount))
        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"]
        lines += [f"{name}: {value}" for name, value in kept if name.lower() != "content-length"]
        browser = self.detach()
        for stream in (browser, reply.stream):
            stream.set_nodelay(True)
        browser.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        await tunnel(browser, reply.stream, self._touch)

    def _touch(self) -> None:
        now = time.monotonic()
        if now - self._touched_seconds >= ACTIVITY_SECONDS:
            self._touched_seconds = now
            self._record_activity()

    # --- how it ends when it does not work ---

    def _refuse(self, error: PublicError) -> None:
        if self._headers_written:
            self._break_off()
            return
        self.clear()
        self.set_status(error.status)
        self.set_header("Cache-Control", "no-store")
        retries = isinstance(error, NothingListens)
        if retries:
            self.set_header("Retry-After", str(RETRY_SECONDS))
        if wants_page(self.request.method or "", self.request.headers.get("Accept", "")):
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(page(error, retries=retries))
        else:
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(error.sentence() + "\n")

    def _break_off(self) -> None:
        """Close the browser's connection, so that it sees an error and not a short answer."""
        stream = self.request.connection.stream
        if stream is not None:
            stream.close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors of Jupyter and of the library, in our words; the log has the rest."""
        error: PublicError
        if status_code in (401, 403):
            error = NotAllowed("You may not open this.", hint="Sign in to the workspace first.")
        elif status_code < 500:
            error = NotFound("The proxy cannot do this.")
        else:
            error = Unavailable("The app could not be reached.", hint="The log of the Jupyter server says more.")
        error.status = status_code
        self._refuse(error)
