"""Where notices go: the form of a target, as ``organization.credits.notify`` in vessl.yaml lists them.

A target is written into the offer, the database and the log, so none may hold a secret.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MAIL, FROM_ENVIRONMENT = "mailto:", "env:"
TARGET_CHARACTERS_MAX = 255
MAIL_SCHEMES = frozenset({"mailto", "mailtos"})
HOOK_SCHEMES = frozenset({"json", "jsons", "form", "forms", "xml", "xmls"})
"""A plain HTTP(S) request to an address that need not be secret."""
SECRET_SCHEMES = frozenset(
    {
        *("discord", "gchat", "gotify", "gotifys", "matrix", "matrixs", "mmost", "mmosts", "msteams", "ntfy", "ntfys"),
        *("opsgenie", "pagerduty", "rocket", "rockets", "slack", "tgram", "webex", "wxteams", "workflow", "workflows"),
        *("zulip",),
    }
)
"""Services whose URLs hold the key to them."""
SCHEMES = MAIL_SCHEMES | HOOK_SCHEMES | SECRET_SCHEMES
"""All that may be used: each sends over the network; none runs a program or writes a file."""

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"[A-Za-z0-9._+-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_PATH = re.compile(r"[A-Za-z0-9._~/-]*")
_FORMS = "write mailto:ops@acme.example, env:NAME or jsons://hooks.acme.example/vessl"
_HIDDEN = "put the URL into an environment variable of the service and write env:NAME"


def check_target(text: str) -> str:
    """Return a target, stripped, if it has one of the three forms; else raise ValueError with one sentence.

    The forms: ``mailto:ADDRESS``, ``env:NAME`` (the URL is in that environment variable of the service), and an
    apprise URL of a plain webhook without anything secret in it.
    """
    target = text.strip()
    if not target or len(target) > TARGET_CHARACTERS_MAX:
        raise ValueError(f"{_FORMS}, with at most {TARGET_CHARACTERS_MAX} characters")
    if target.startswith(FROM_ENVIRONMENT):
        if not _VARIABLE.fullmatch(target.removeprefix(FROM_ENVIRONMENT)):
            raise ValueError("write env: and the name of a variable in capitals, such as env:ACME_SLACK_URL")
        return target
    if target.startswith(MAIL) and "://" not in target:
        if not _ADDRESS.fullmatch(target.removeprefix(MAIL)):
            raise ValueError("write mailto: and one address, such as mailto:ops@acme.example")
        return target
    _check_hook(target)
    return target


def _check_hook(target: str) -> None:
    scheme = target.partition("://")[0].lower()
    if scheme in SECRET_SCHEMES or scheme in ("http", "https"):
        raise ValueError(f"such a URL may hold a secret; {_HIDDEN}")
    if scheme in MAIL_SCHEMES:
        raise ValueError("write mailto:ops@acme.example; the mail server is set in VESSL_SMTP_URL, not in the offer")
    if scheme not in HOOK_SCHEMES or "://" not in target:
        raise ValueError(_FORMS)
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError:
        raise ValueError(_FORMS) from None
    if "@" in target or "?" in target or "#" in target:
        raise ValueError(f"a URL with a password or with options does not belong into the offer; {_HIDDEN}")
    if port == 0 or not _HOST.fullmatch(parts.hostname or "") or not _PATH.fullmatch(parts.path):
        raise ValueError(_FORMS)
