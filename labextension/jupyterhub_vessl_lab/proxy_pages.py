"""What a person reads when the port proxy cannot pass a request on: one sentence, as a page or as text.

Every refusal is a `PublicError`, so its words hold nothing of addresses, headers or tracebacks. A browser that opens
a page gets HTML; everything else (fetch, curl, a WebSocket) gets the sentence as plain text.
"""

from __future__ import annotations

from html import escape

from jupyterhub_vessl.model.errors import BadInput, NotAllowed, PublicError, Unavailable

RETRY_SECONDS = 3
"""How long a page waits before it looks again whether the app has come up."""


class NothingListens(Unavailable):
    """No program accepts connections on that port, yet."""

    default_code = "nothing_listens"


class HostNotAllowed(NotAllowed):
    """The proxy reaches this workspace only, or what the operator allowed."""

    default_code = "host_not_allowed"


class OtherSite(NotAllowed):
    """Another website sent the request, with the cookies of somebody who may not know of it."""

    default_code = "other_site"


class BadPort(BadInput):
    """The number in the address is no port."""

    default_code = "bad_port"


class OwnPort(BadInput):
    """The port is the one JupyterLab itself listens on; following it would go round in circles."""

    default_code = "own_port"


class HeadersTooLarge(BadInput):
    """The request has more headers, or longer ones, than the proxy passes on."""

    status = 431
    default_code = "headers_too_large"


class BadAnswer(PublicError):
    """The app answered something that is not HTTP, or broke off before the answer began."""

    status = 502
    default_code = "bad_answer"


class NoConnection(PublicError):
    """The app's port is open, but it did not accept the connection in time."""

    status = 504
    default_code = "no_connection"


_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center}"
    "main{max-width:32rem;padding:2rem}h1{font-size:1.25rem;margin:0 0 .5rem}p{margin:0;opacity:.75}"
)


def wants_page(method: str, accept: str) -> bool:
    """True when the answer is something that a browser will show as a page."""
    return method == "GET" and "text/html" in accept.lower()


def page(error: PublicError, *, retries: bool) -> str:
    """The sentence of `error` as an HTML page; one that retries loads itself again after `RETRY_SECONDS`."""
    refresh = f'<meta http-equiv="refresh" content="{RETRY_SECONDS}">' if retries else ""
    hint = f"<p>{escape(error.hint)}</p>" if error.hint else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{refresh}<title>{escape(error.message)}</title><style>{_STYLE}</style></head>"
        f'<body><main role="status"><h1>{escape(error.message)}</h1>{hint}</main></body></html>'
    )
