"""Which requests never reach an app: those with too large a head, and those that another website sent.

Browsers add the cookies of the Jupyter server to whatever any page sends to it, and an app behind a link cannot tell
the difference: to it, the person is signed in (cross-site request forgery). Pure functions over headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from .proxy_pages import HeadersTooLarge, OtherSite

REQUEST_HEADERS_MAX = 100
"""The most header lines of a request that are passed on."""
REQUEST_HEADERS_BYTES_MAX = 48 * 1024
"""The longest head of a request that is passed on; the Jupyter server itself closes the connection at 64 KiB."""

# they ask for something and change nothing (RFC 9110, 9.2.1); a link of another website has to work
_ASKING = frozenset({"GET", "HEAD", "OPTIONS"})
_UNNAMED = "null"


def check_size(lines: Iterable[tuple[str, str]]) -> None:
    """Raise `HeadersTooLarge` for more header lines, or longer ones, than an app can take."""
    lines = list(lines)
    size_bytes = sum(len(name) + len(value) + 4 for name, value in lines)
    if len(lines) > REQUEST_HEADERS_MAX or size_bytes > REQUEST_HEADERS_BYTES_MAX:
        raise HeadersTooLarge(
            "The browser sent more headers than an app can take.", hint="Remove old cookies of this site."
        )


def check_site(method: str, headers: Mapping[str, str], allowed: str, pattern: str | re.Pattern[str]) -> None:
    """Raise `OtherSite` for a request that changes something and that another website sent.

    Parameters
    ----------
    allowed, pattern
        The Jupyter server's ``allow_origin`` and ``allow_origin_pat``; as there, the second counts without the first.
    """
    if method in _ASKING:
        return
    origin = foreign_origin(headers)
    if origin is not None and not _is_allowed(origin, allowed, pattern):
        raise OtherSite(
            "Another website sent this, so it was not passed on to the app.", hint="Open the app and do it there."
        )


def foreign_origin(headers: Mapping[str, str]) -> str | None:
    """The other website that sent a request, ``null`` where it hides its name; None when nothing tells of another.

    ``Sec-Fetch-Site`` (W3C, Fetch Metadata) comes first: no page can set it, and it compares with the address that the
    browser knows, whatever a proxy has made of ``Host``. Another host name of the same site is foreign too, because it
    may be another person's server. Browsers leave it out over plain http; then ``Origin``, or else ``Referer``, has to
    name the ``Host`` that was asked, as `jupyter_server` has it. A program that sends none of the three is no browser.
    """
    said = headers.get("Sec-Fetch-Site", "").strip().lower()
    if said in ("same-origin", "none"):  # "none" is the person: an address that was typed, a page that is loaded again
        return None
    origin = headers.get("Origin", "").strip().lower() or _origin_of(headers.get("Referer", ""))
    if said:
        return origin or _UNNAMED
    return origin if origin and _host_of(origin) != headers.get("Host", "").strip().lower() else None


def _is_allowed(origin: str, allowed: str, pattern: str | re.Pattern[str]) -> bool:
    if allowed:
        return allowed == "*" or allowed.lower() == origin
    return bool(pattern and re.fullmatch(pattern, origin))


def _origin_of(address: str) -> str:
    host = _host_of(address)
    return f"{address.partition(':')[0]}://{host}".lower() if host else _UNNAMED if address else ""


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).netloc.lower() or None
    except ValueError:
        return None
