"""Which headers cross the port proxy, and in what shape. Pure functions over strings; nothing here does I/O.

Towards the app: neither the cookies nor the token that opened the Jupyter server, nor a Referer or query that repeats
them. Towards the browser: no cookie that the hub or the Jupyter server would believe, no cookie outside the app's own
path, and no header whose effect reaches beyond the app, because every app shares one origin with the hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus, urlsplit

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "http2-settings"}
)
"""They speak about one connection, so they end at the proxy (RFC 9110, 7.6.1)."""

# the proxy says these itself, or has dealt with them
_OURS = frozenset({"expect", "x-forwarded-context", "x-proxycontextpath", "x-forwarded-prefix"})
# each acts on the whole origin or site in the browser, not on one app: what is kept or loaded there, how it is
# reached, which hints and reports it sends, whether somebody is signed in to it
_BEYOND_THE_APP = frozenset(
    {"clear-site-data", "service-worker-allowed", "strict-transport-security", "public-key-pins", "alt-svc", "nel"}
    | {"report-to", "set-cookie2", "origin-agent-cluster", "accept-ch", "critical-ch", "use-as-dictionary"}
    | {"set-login", "sec-session-registration", "secure-session-registration", "observe-browsing-topics"}
    | {"activate-storage-access"}
)
# orders to a proxy in front of the hub: send a file of yours instead, keep this for everybody
_TO_A_PROXY = frozenset({"x-sendfile", "x-lighttpd-send-file", "x-litespeed-location", "surrogate-control"})
_TO_NGINX = "x-accel-"
# the one order to nginx that an app needs, so that its events are not held back
_OF_THE_APP = frozenset({"x-accel-buffering"})
_HUB_COOKIE_PREFIXES = ("jupyterhub-", "jupyter-hub-", "username-", "service-", "_xsrf")
_BROWSER_PREFIXES = ("__host-", "__secure-")
# a shorter one would be found in innocent text
_LONG_TOKEN = 12
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# what may stand in a request target without being quoted; "%" stays, so that %2f stays %2f
_TARGET_SAFE = "%/:?[]@!$&'()*+,;=-._~|^`{}\"<>\\"

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Mount:
    """Where the browser sees an app.

    Attributes
    ----------
    prefix
        Path of the app without a slash at the end, spelled as the browser spelled it.
    absolute
        True when the app serves its pages below `prefix` itself and therefore receives whole paths.
    host
        The ``Host`` under which the browser reached the proxy.
    port
        The app's port; 0 for an app behind a Unix socket.
    base
        Base path of the Jupyter server, with slashes at both ends.
    """

    prefix: str
    absolute: bool
    host: str
    port: int
    base: str

    def inside(self, path: str) -> bool:
        """True when a browser's path belongs to this app."""
        return path == self.prefix or path.startswith(self.prefix + "/")


@dataclass(frozen=True)
class Secrets:
    """What opened the Jupyter server and must not be seen by an app.

    Attributes
    ----------
    tokens
        Token values of the hub and the server, as far as they are known.
    cookies
        Further names of cookies that the server believes, in lower case.
    xsrf
        Values of the ``_xsrf`` cookies of the request.
    """

    tokens: frozenset[str] = frozenset()
    cookies: frozenset[str] = frozenset()
    xsrf: frozenset[str] = frozenset()

    def owns_cookie(self, name: str) -> bool:
        """True for the name of a cookie that belongs to the hub or to the Jupyter server."""
        name = name.strip().lower()
        for prefix in _BROWSER_PREFIXES:
            name = name.removeprefix(prefix)
        return name in self.cookies or name.startswith(_HUB_COOKIE_PREFIXES)

    def holds(self, value: str) -> bool:
        """True when a text contains a known token."""
        words = value.replace("=", " ").split()
        return any(token in words or (len(token) >= _LONG_TOKEN and token in value) for token in self.tokens)


def dropped_by_connection(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Names that are hop by hop: the fixed ones and those that ``Connection`` lists."""
    listed = (value for name, value in headers if name.lower() == "connection")
    return HOP_BY_HOP | {part.strip().lower() for value in listed for part in value.split(",")}


def request_headers(headers: Iterable[tuple[str, str]], secrets: Secrets, mount: Mount) -> Headers:
    """The headers that the app receives, in their order."""
    headers = list(headers)
    drop = dropped_by_connection(headers) | _OURS
    return [
        (name, kept)
        for name, value in headers
        if name.lower() not in drop and (kept := _request_value(name.lower(), value, secrets, mount)) is not None
    ]


def _request_value(name: str, value: str, secrets: Secrets, mount: Mount) -> str | None:
    if name == "cookie":
        return request_cookies(value, secrets) or None
    if name == "authorization":
        scheme = value.strip().partition(" ")[0].lower()
        # `token` is the scheme of Jupyter alone: expired or foreign, it is somebody's key to a hub.
        # Bearer is common among apps; it is ours when it authenticated, and then `holds` knows it.
        if scheme == "token" or secrets.holds(value):
            return None
    elif name == "referer":
        return _referer(value, secrets, mount)
    elif name == "x-xsrftoken" and value in secrets.xsrf:
        return None
    return None if secrets.holds(value) else value


def request_cookies(value: str, secrets: Secrets) -> str:
    """A ``Cookie`` header without what belongs to the hub or the server; empty when nothing is left."""
    kept = []
    for part in value.split(";"):
        name, equals, _ = part.strip().partition("=")
        if name and equals and not secrets.owns_cookie(name) and not secrets.holds(part):
            kept.append(part.strip())
    return "; ".join(kept)


def request_query(query: str, secrets: Secrets) -> str:
    """The query string that the app receives: without a token or ``_xsrf`` of ours, the rest byte for byte."""
    return "&".join(part for part in query.split("&") if not _is_secret_argument(part, secrets))


def _is_secret_argument(part: str, secrets: Secrets) -> bool:
    name, _, value = part.partition("=")
    name, value = unquote_plus(name), unquote_plus(value)
    return (name == "_xsrf" and value in secrets.xsrf) or secrets.holds(value) or secrets.holds(name)


def _referer(value: str, secrets: Secrets, mount: Mount) -> str:
    """The page before keeps its path; its query only inside the app, and never an argument named ``token``.

    A page opened with ``?token=`` names that token in the Referer of everything it loads, by cookie.
    """
    address, _, query = value.partition("?")
    try:
        inside = mount.inside(urlsplit(address).path)
    except ValueError:
        return ""
    if not inside or not query:
        return address
    parts = (part for part in query.split("&") if unquote_plus(part.partition("=")[0]) not in ("token", "_xsrf"))
    kept = request_query("&".join(parts), secrets)
    return f"{address}?{kept}" if kept else address


def forwarded_headers(mount: Mount) -> Headers:
    """How an app that gets stripped paths learns where it is mounted; each framework reads another of these."""
    if mount.absolute:
        return []
    return [(name, mount.prefix) for name in ("X-Forwarded-Context", "X-ProxyContextPath", "X-Forwarded-Prefix")]


def request_target(path: str) -> str:
    """A path as it may stand in a request line: what is quoted stays quoted, what may not stand there gets quoted."""
    path = path if path.startswith("/") else f"/{path}"
    return quote(path.encode("latin-1", "replace"), safe=_TARGET_SAFE)


def response_headers(headers: Iterable[tuple[str, str]], secrets: Secrets, mount: Mount) -> Iterator[tuple[str, str]]:
    """The headers of the app's answer that the browser receives, in their order."""
    headers = list(headers)
    drop = dropped_by_connection(headers) | _BEYOND_THE_APP | _TO_A_PROXY
    if any(name.lower() == "transfer-encoding" for name, _ in headers):
        drop |= {"content-length"}
    for name, value in headers:
        kept: str | None = value
        if name.lower() in drop or (name.lower().startswith(_TO_NGINX) and name.lower() not in _OF_THE_APP):
            continue
        if name.lower() == "set-cookie":
            kept = set_cookie(value, secrets, mount)
        elif name.lower() == "location":
            kept = location(value, mount)
        if kept is not None:
            yield name, kept


def set_cookie(value: str, secrets: Secrets, mount: Mount) -> str | None:
    """A ``Set-Cookie`` that stays within the app, or None when the app may not set it.

    A cookie without a name is refused: browsers send ``=name=value`` back as ``name=value``.
    """
    pair, *attributes = value.split(";")
    name, equals, _ = pair.partition("=")
    if not equals or not name.strip() or secrets.owns_cookie(name):
        return None
    path = ""
    kept = [pair.strip()]
    for attribute in attributes:
        key, _, content = attribute.strip().partition("=")
        if key.strip().lower() == "path":
            path = content.strip()
        elif key.strip().lower() != "domain":
            kept.append(attribute.strip())
    return "; ".join([*kept, f"Path={_cookie_path(path, mount)}"])


def _cookie_path(path: str, mount: Mount) -> str:
    if mount.inside(path):
        return path
    # "/" of a stripped app is the prefix; an absolute app asked for more than it has
    return mount.prefix if mount.absolute or not path.startswith("/") else mount.prefix + path.rstrip("/")


def location(value: str, mount: Mount) -> str:
    """A redirect that stays with the app: loopback addresses and paths without the prefix become ours.

    The app sees another address than the browser, so ``http://localhost:3000/x`` and ``/x`` mean the same page.
    """
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return value
    if parts.scheme not in ("", "http", "https"):
        return value
    rest = value[value.index(parts.netloc) + len(parts.netloc) :] if parts.netloc else value
    if not parts.netloc:
        return _with_prefix(value, mount) if value.startswith("/") and not parts.scheme else value
    if parts.netloc.lower() == mount.host.lower():
        return _with_prefix(rest, mount)
    if (parts.hostname or "") in _LOOPBACK_NAMES:
        number = port or (443 if parts.scheme == "https" else 80)
        if number == mount.port:
            return _with_prefix(rest, mount)
        if parts.scheme == "http":
            return f"{mount.base}proxy/{number}" + (rest if rest.startswith("/") else f"/{rest}")
    return value


def _with_prefix(path: str, mount: Mount) -> str:
    path = path if path.startswith("/") else f"/{path}"
    bare = path.partition("?")[0].partition("#")[0]
    # an absolute app names whole paths; one that reads X-Forwarded-Prefix does so too
    if mount.absolute or mount.inside(bare):
        return path
    return mount.prefix + path
