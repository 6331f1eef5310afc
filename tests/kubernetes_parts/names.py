"""Names as a real API server checks them: DNS names, labels, annotations, ports, environment variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .problems import Problem

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_ENV = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
ANNOTATIONS_MAX_BYTES = 262144

_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with"
    f" an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    f" end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_DNS_1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character,"
    " and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is"
    f" '{_DNS_1035}')"
)
_QUALIFIED_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    f" character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')"
)
_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    f" '{_LABEL_VALUE}')"
)
_ENV_WORDS = (
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not"
    " start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is"
    f" '{_ENV}')"
)
_CONFIG_KEY_WORDS = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or"
    f" 'key-name', regex used for validation is '{_CONFIG_KEY}')"
)


def _fits(field: str, value: str, pattern: str, length: int, words: str) -> Iterator[Problem]:
    if len(value) > length:
        yield Problem(field, "Invalid value", f"must be no more than {length} characters", value)
    elif not re.fullmatch(pattern, value):
        yield Problem(field, "Invalid value", words, value)


def label_name(field: str, value: str) -> Iterator[Problem]:
    """A DNS-1123 label: containers, volumes, namespaces."""
    return _fits(field, value, _LABEL, 63, _LABEL_WORDS)


def subdomain(field: str, value: str) -> Iterator[Problem]:
    """A DNS-1123 subdomain: most objects, and what refers to them."""
    return _fits(field, value, _SUBDOMAIN, 253, _SUBDOMAIN_WORDS)


def service_name(field: str, value: str) -> Iterator[Problem]:
    """A DNS-1035 label."""
    return _fits(field, value, _DNS_1035, 63, _DNS_1035_WORDS)


def config_key(field: str, value: str) -> Iterator[Problem]:
    """A key in the data of a Secret or a ConfigMap."""
    if value in (".", "..") or value.startswith(".."):
        yield Problem(field, "Invalid value", "must not be '.' or '..' or start with '..'", value)
    yield from _fits(field, value, _CONFIG_KEY, 253, _CONFIG_KEY_WORDS)


def variable(field: str, value: str, *, relaxed: bool) -> Iterator[Problem]:
    """The name of an environment variable; ``relaxed`` as servers from 1.32 on."""
    if not value:
        yield Problem(field, "Required value")
    elif relaxed:
        if not re.fullmatch(r"[ -<>-~]+", value):
            words = "a valid environment variable name must consist only of printable ASCII characters other than '='"
            yield Problem(field, "Invalid value", words, value)
    elif not re.fullmatch(_ENV, value) or value in (".", "..") or value.startswith(".."):
        yield Problem(field, "Invalid value", _ENV_WORDS, value)


def port_name(field: str, value: str) -> Iterator[Problem]:
    """An IANA service name."""
    checks = (
        (len(value) <= 15, "must be no more than 15 characters"),
        (re.fullmatch("[-a-z0-9]*", value), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        (re.search("[a-z]", value), "must contain at least one letter (a-z)"),
        ("--" not in value, "must not contain consecutive hyphens"),
        (value[:1] != "-" and value[-1:] != "-", "must not begin or end with a hyphen"),
    )
    for fine, words in checks:
        if not fine:
            yield Problem(field, "Invalid value", words, value)


def port_number(field: str, value: int) -> Iterator[Problem]:
    """A TCP or UDP port."""
    if not 1 <= value <= 65535:
        yield Problem(field, "Invalid value", "must be between 1 and 65535, inclusive", value)


def qualified_name(field: str, value: str) -> Iterator[Problem]:
    """``name`` or ``prefix/name``: keys of labels, annotations and taints, and resources."""
    prefix, slash, name = value.rpartition("/")
    if slash and not prefix:
        yield Problem(field, "Invalid value", "prefix part must be non-empty", value)
    elif slash:
        for problem in subdomain(field, prefix):
            yield Problem(field, "Invalid value", f"prefix part {problem.detail}", value)
    if not name:
        yield Problem(field, "Invalid value", "name part must be non-empty", value)
    elif len(name) > 63:
        yield Problem(field, "Invalid value", "name part must be no more than 63 characters", value)
    elif not re.fullmatch(_QUALIFIED, name):
        yield Problem(field, "Invalid value", _QUALIFIED_WORDS, value)


def label_value(field: str, value: str) -> Iterator[Problem]:
    """The value of a label, or of a selector."""
    return _fits(field, value, _LABEL_VALUE, 63, _VALUE_WORDS)


def label_map(field: str, values: dict[str, str]) -> Iterator[Problem]:
    """A map of labels; also node selectors and the selectors of Services."""
    for key, value in values.items():
        yield from qualified_name(field, key)
        yield from label_value(field, value)


def annotation_map(field: str, values: dict[str, str]) -> Iterator[Problem]:
    """A map of annotations: keys like labels in lower case, values free but not endless."""
    size = 0
    for key, value in values.items():
        yield from qualified_name(field, key.lower())
        size += len(key.encode()) + len((value or "").encode())
    if size > ANNOTATIONS_MAX_BYTES:
        yield Problem(field, "Too long", f"may not be more than {ANNOTATIONS_MAX_BYTES} bytes")


def reference(field: str, thing: Any, *, what: str = "name") -> Iterator[Problem]:
    """An object that names another one by ``what``."""
    name = (thing or {}).get(what) or ""
    if not name:
        yield Problem(f"{field}.{what}", "Required value")
    else:
        yield from subdomain(f"{field}.{what}", name)
