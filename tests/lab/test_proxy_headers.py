"""The pure rules of what crosses the port proxy."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub_vessl_lab.proxy_headers import (
    Mount,
    Secrets,
    location,
    request_cookies,
    request_headers,
    request_query,
    response_headers,
    set_cookie,
)
from jupyterhub_vessl_lab.proxy_pages import BadPort
from jupyterhub_vessl_lab.proxy_targets import check_port, forbidden_address

TOKEN = "0123456789abcdef0123456789abcdef"
SECRETS = Secrets(tokens=frozenset({TOKEN, "short"}), cookies=frozenset({"my-login"}), xsrf=frozenset({"2|abc"}))
MOUNT = Mount("/user/mia/proxy/3000", False, "hub.example.org", 3000, "/user/mia/")
WHOLE = Mount("/user/mia/proxy/absolute/3000", True, "hub.example.org", 3000, "/user/mia/")

HUB_COOKIES = [
    "jupyterhub-session-id",
    "jupyterhub-user-mia",
    "jupyter-hub-token",
    "_xsrf",
    "username-hub-example-org",
    "service-vessl",
    "my-login",
    "__Host-jupyterhub-session-id",
    "__Secure-_xsrf",
    "JupyterHub-Session-Id",
]


@pytest.mark.parametrize("name", HUB_COOKIES)
def test_a_cookie_of_the_hub_crosses_in_neither_direction(name):
    assert request_cookies(f"a=1; {name}=secret; b=2", SECRETS) == "a=1; b=2"
    assert set_cookie(f"{name}=evil; Path=/user/mia/proxy/3000/", SECRETS, MOUNT) is None
    assert set_cookie(f" {name} =evil", SECRETS, MOUNT) is None


@pytest.mark.parametrize("line", ["=jupyterhub-session-id=evil", "jupyterhub-session-id", "; Path=/", "", " =x"])
def test_a_nameless_cookie_is_refused_because_browsers_send_it_back_as_a_name(line):
    assert set_cookie(line, SECRETS, MOUNT) is None
    assert request_cookies(line.partition(";")[0], SECRETS) == ""


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("a=1", "a=1; Path=/user/mia/proxy/3000"),
        ("a=1; Path=/; HttpOnly", "a=1; HttpOnly; Path=/user/mia/proxy/3000"),
        ("a=1; path = /api ; Secure", "a=1; Secure; Path=/user/mia/proxy/3000/api"),
        ("a=1; Path=/user/mia/proxy/3000/x", "a=1; Path=/user/mia/proxy/3000/x"),
        ("a=1; Path=/user/mia/proxy/30001", "a=1; Path=/user/mia/proxy/3000/user/mia/proxy/30001"),
        ("a=1; Path=/x; Path=/", "a=1; Path=/user/mia/proxy/3000"),
        ("a=1; Domain=example.org; DOMAIN=.org", "a=1; Path=/user/mia/proxy/3000"),
        ('a=1; Path="/"', "a=1; Path=/user/mia/proxy/3000"),
    ],
)
def test_a_cookie_of_the_app_stays_below_the_app(line, kept):
    assert set_cookie(line, SECRETS, MOUNT) == kept


def test_an_absolute_app_cannot_widen_the_path_of_its_cookie():
    for path in ("/", "/user/mia/", "/hub/", "/user/mia/proxy/absolute/30001"):
        assert set_cookie(f"a=1; Path={path}", SECRETS, WHOLE) == f"a=1; Path={WHOLE.prefix}"


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=60))
def test_no_set_cookie_gets_a_wider_path_a_domain_or_a_name_of_the_hub(line):
    kept = set_cookie(line, SECRETS, MOUNT)
    if kept is not None:
        pair, *attributes = kept.split("; ")
        assert not SECRETS.owns_cookie(pair.partition("=")[0])
        paths = [a.partition("=")[2] for a in attributes if a.lower().startswith("path")]
        assert len(paths) == 1
        assert MOUNT.inside(paths[0])
        assert not any(a.strip().lower().startswith("domain=") for a in attributes)


@pytest.mark.parametrize(
    ("value", "crosses"),
    [
        (f"token {TOKEN}", False),
        ("token expired-token-of-some-hub", False),
        ("Token x", False),
        (f"Bearer {TOKEN}", False),
        ("bearer short", False),
        ("Bearer eyJhbGciOi.eyJzdWIi.c2ln", True),
        ("Basic bWlhOm1pYQ==", True),
    ],
)
def test_an_authorization_crosses_only_when_it_is_the_apps_own(value, crosses):
    sent = request_headers([("Authorization", value), ("Accept", "*/*")], SECRETS, MOUNT)
    assert (("Authorization", value) in sent) is crosses
    assert ("Accept", "*/*") in sent


def test_a_token_is_found_in_any_header_query_and_referer():
    sent = request_headers(
        [
            ("X-Api-Key", TOKEN),
            ("X-XSRFToken", "2|abc"),
            ("Referer", f"https://hub.example.org/user/mia/proxy/3000/p?token={TOKEN}&q=1"),
            ("Referer", "https://hub.example.org/user/mia/proxy/3000/p?token=unknown-hub-token"),
            ("Referer", "https://hub.example.org/hub/oauth_callback?code=secret&state=secret"),
            ("Referer", "http://[broken"),
        ],
        SECRETS,
        MOUNT,
    )
    assert sent == [
        ("Referer", "https://hub.example.org/user/mia/proxy/3000/p?q=1"),
        ("Referer", "https://hub.example.org/user/mia/proxy/3000/p"),
        ("Referer", "https://hub.example.org/hub/oauth_callback"),
        ("Referer", ""),
    ]
    assert request_query(f"a=%2f&token={TOKEN}&b=+&b=&_xsrf=2%7Cabc&token=of-the-app", SECRETS) == (
        "a=%2f&b=+&b=&token=of-the-app"
    )
    assert request_query(f"t%6fken=%30{TOKEN[1:]}", SECRETS) == ""


def test_what_speaks_about_one_connection_or_the_whole_origin_is_dropped():
    request = [("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("TE", "trailers"), ("Expect", "100-continue")]
    assert request_headers([*request, ("X-Forwarded-Prefix", "/evil"), ("X", "y")], SECRETS, MOUNT) == [("X", "y")]
    answer = [("Service-Worker-Allowed", "/"), ("Clear-Site-Data", "*"), ("X-Accel-Redirect", "/etc"), ("Alt-Svc", "x")]
    framing = [("Transfer-Encoding", "chunked"), ("Content-Length", "3"), ("Trailer", "X"), ("ETag", "e")]
    assert list(response_headers(answer + framing, SECRETS, MOUNT)) == [("ETag", "e")]


@pytest.mark.parametrize(
    "name",
    [
        *("Accept-CH", "Critical-CH", "Use-As-Dictionary", "Set-Login", "Observe-Browsing-Topics", "NEL"),
        *("Sec-Session-Registration", "Secure-Session-Registration", "Activate-Storage-Access", "Origin-Agent-Cluster"),
        *("X-Accel-Redirect", "X-Accel-Expires", "X-Accel-Limit-Rate", "x-accel-charset", "X-ACCEL-Anything"),
        *("X-Sendfile", "X-Lighttpd-Send-File", "X-LiteSpeed-Location", "Surrogate-Control"),
    ],
)
def test_an_app_gives_no_orders_to_the_site_or_to_a_proxy_in_front_of_it(name):
    kept = [("X-Accel-Buffering", "no"), ("Cache-Control", "no-store"), ("Content-Security-Policy", "default-src *")]
    assert list(response_headers([(name, "x"), *kept], SECRETS, MOUNT)) == kept


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("/login?next=/x", "/user/mia/proxy/3000/login?next=/x"),
        ("/user/mia/proxy/3000/x", "/user/mia/proxy/3000/x"),
        ("x/y", "x/y"),
        ("?page=2", "?page=2"),
        ("http://localhost:3000/a#b", "/user/mia/proxy/3000/a#b"),
        ("http://127.0.0.1:3000", "/user/mia/proxy/3000/"),
        ("http://[::1]:3000/a", "/user/mia/proxy/3000/a"),
        ("http://localhost:8080/a?b", "/user/mia/proxy/8080/a?b"),
        ("https://hub.example.org/a", "/user/mia/proxy/3000/a"),
        ("//hub.example.org/a", "/user/mia/proxy/3000/a"),
        ("https://github.com/a", "https://github.com/a"),
        ("http://localhost:x/", "http://localhost:x/"),
        ("mailto:mia@example.org", "mailto:mia@example.org"),
    ],
)
def test_a_redirect_of_a_stripped_app_stays_with_the_app(value, seen):
    assert location(value, MOUNT) == seen


def test_a_redirect_of_an_absolute_app_names_whole_paths():
    assert location("/user/mia/proxy/absolute/3000/x", WHOLE) == "/user/mia/proxy/absolute/3000/x"
    assert location("http://localhost:3000/hub/", WHOLE) == "/hub/"


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "168.63.129.16",
        "100.100.100.200",
        "::ffff:100.100.100.200",
        "0.0.0.0",
        "::",
        "224.0.0.1",
    ],
)
def test_metadata_and_link_local_addresses_are_forbidden_in_every_spelling(text):
    assert forbidden_address(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "10.0.0.7", "192.168.1.1", "2001:db8::1", "::ffff:10.0.0.7"])
def test_ordinary_addresses_are_not_forbidden(text):
    assert not forbidden_address(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["0", "00000", "65536", "70000", "9" * 5000])
def test_a_number_that_is_no_port_is_refused(text):
    with pytest.raises(BadPort):
        check_port(text)
    assert check_port("65535") == 65535
