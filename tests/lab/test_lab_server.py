"""The server extension in a real notebook server, with a stand-in service."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from fake_service import HUB_TOKEN, WORKSPACE_ID, FakeService
from lab_parts import BASE_URL, USER_TOKEN, Notebook

WEB = {"type": "http", "port": 3000, "path": "stripped"}


def until(look: Any, seconds: float = 15) -> Any:
    """The first true value of ``look``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := look():
            return value
        time.sleep(0.2)
    raise AssertionError("it did not come true")


def recovered(notebook: Notebook) -> Any:
    """A status without a problem, as after an earlier test's troubles."""
    return until(lambda: (s := notebook.status(fresh=True))["problem"] == "" and s["service"] and s)


def test_it_tells_what_the_service_says_and_what_is_used(notebook: Notebook, service: FakeService) -> None:
    service.mounts = [{"kind": "workspace", "mount_path": "/nowhere", "size_bytes": 1 << 30}]
    shown = recovered(notebook)
    shown = until(lambda: (s := notebook.status(fresh=True))["volumes"] and s)
    assert shown["service"]["credits"]["balance_micros"] == 41_200_000
    assert shown["volumes"] == [
        {
            "mount_path": "/nowhere",
            "kind": "workspace",
            "name": "",
            "read_only": False,
            "size_bytes": 1 << 30,
            "used_bytes": None,
        }
    ]
    usage = shown["usage"]
    assert 0 <= usage["cpu_percent"] <= 100
    assert 10 << 20 < usage["memory_bytes"] <= usage["memory_bytes_limit"]
    assert 0 <= shown["at_ms"] - 1_800_000_000_000 < 60_000, "the service's clock goes on"
    assert {token for *_, token in service.asked} == {f"token {HUB_TOKEN}"}


def test_many_tabs_cost_one_question(notebook: Notebook, service: FakeService) -> None:
    recovered(notebook)
    service.asked.clear()
    for _ in range(20):
        notebook.status()
    assert len(service.asked) <= 2


def test_nothing_that_a_tab_asks_counts_as_activity(notebook: Notebook, service: FakeService) -> None:
    before = notebook.last_activity()
    answers = [
        notebook.ask("GET", "vessl/api/status"),
        notebook.ask("GET", "vessl/api/status?fresh=1"),
        notebook.ask("POST", "vessl/api/pause", {}),
        notebook.ask("PUT", "vessl/api/ports/web", WEB),
        notebook.ask("DELETE", "vessl/api/ports/web"),
        notebook.ask("DELETE", "vessl/api/ports/web"),
        notebook.ask("PUT", "vessl/api/ports/web", {"port": 0}),
    ]
    service.trouble = "500"
    answers.append(notebook.ask("GET", "vessl/api/status?fresh=1"))
    assert [a.status for a in answers] == [300, 300, 300, 300, 300, 404, 400, 300]
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Location"] is None
    assert notebook.last_activity() == before
    notebook.ask("GET", "api/contents")
    assert notebook.last_activity() != before, "this test can tell activity"


def test_a_look_leaves_no_line_in_the_log(notebook: Notebook, service: FakeService) -> None:
    before = len(notebook.log)
    notebook.status()
    assert "vessl/api/status" not in notebook.log[before:]


def test_pause_reaches_the_service_once(notebook: Notebook, service: FakeService) -> None:
    assert notebook.ask("POST", "vessl/api/pause").json == {"paused": True}
    assert service.paused == 1


def test_ports_are_declared_and_removed(notebook: Notebook, service: FakeService) -> None:
    recovered(notebook)
    shown = notebook.ask("PUT", "vessl/api/ports/web", WEB).json
    assert shown["ports"][0] == {
        "name": "web",
        "port": 3000,
        "type": "http",
        "path": "stripped",
        "declared": True,
        "listening": False,
        "process": "",
        "url": f"{BASE_URL}proxy/3000/",
        "other_url": f"{BASE_URL}proxy/absolute/3000/",
        "address": "",
        "note": "",
    }
    shown = notebook.ask("PUT", "vessl/api/ports/app", {"port": 3001, "path": "absolute"}).json
    assert [p["url"] for p in shown["ports"][:2]] == [f"{BASE_URL}proxy/3000/", f"{BASE_URL}proxy/absolute/3001/"]
    shown = notebook.ask("PUT", "vessl/api/ports/db", {"type": "tcp", "port": 5432}).json
    assert [(p["name"], p["url"], p["other_url"]) for p in shown["ports"] if p["type"] == "tcp"] == [("db", None, None)]
    taken = notebook.ask("PUT", "vessl/api/ports/other", WEB)
    assert (taken.status, taken.json["message"]) == (409, "Port 3000 is declared already.")
    for name in ("web", "app", "db"):
        shown = notebook.ask("DELETE", f"vessl/api/ports/{name}").json
    assert not [p for p in shown["ports"] if p["declared"]]
    assert not service.ports


NUMBER = "Port web: a port is a whole number from 1024 to 65535."


@pytest.mark.parametrize(
    ("name", "body", "sentence"),
    [
        *(("web", {"port": port}, NUMBER) for port in (0, 70000, 22, -1, "3000; rm -rf", 3000.0, True, None, [3000])),
        ("web", {}, "Port web: "),
        ("web", {"port": 3000, "type": "udp"}, "Port web: "),
        ("web", {"port": 3000, "path": "../"}, "Port web: "),
        ("web", {"port": 3000, "host": "169.254.169.254"}, "There is no option 'host' in ports."),
        ("web", {"port": 5432, "type": "tcp", "path": "absolute"}, "Port web: a tcp port has no path."),
        ("web", [], "Port web: "),
        ("web", b"{", "A port is described as JSON."),
        ("web", b"", "A port is described as JSON."),
        ("web", b"[" * 10_000, "A port is described as JSON."),
        ("web", b" " * 20_000, "A port is described in at most 16 KiB."),
        ("%3Cscript%3E", {"port": 3000}, "A port's name: use 1 to 63 lower-case letters, digits and hyphens"),
        ("..", {"port": 3000}, "A port's name: "),
        ("%2e%2e%2fpause", {"port": 3000}, "A port's name: "),
        ("Web", {"port": 3000}, "A port's name: "),
        ("__proto__", {"port": 3000}, "A port's name: "),
        ("a" * 64, {"port": 3000}, "A port's name: "),
        ("%00", {"port": 3000}, "A port's name: "),
    ],
)
def test_a_port_that_makes_no_sense_is_refused_with_a_sentence(
    notebook: Notebook, service: FakeService, name: str, body: object, sentence: str
) -> None:
    answer = notebook.ask("PUT", f"vessl/api/ports/{name}", body)
    assert answer.status == 400
    assert answer.json["message"].startswith(sentence)
    assert set(answer.json) == {"message", "hint", "field"}
    assert not service.asked, "it is refused here, not there"


def test_the_notebook_server_itself_is_no_port_of_the_workspace(notebook: Notebook, service: FakeService) -> None:
    answer = notebook.ask("PUT", "vessl/api/ports/web", {"port": notebook.port})
    assert (answer.status, answer.json["message"]) == (
        400,
        f"Port {notebook.port} is JupyterLab's own; choose another.",
    )
    assert notebook.port not in [p["port"] for p in notebook.status(fresh=True)["ports"]]


@pytest.mark.parametrize("trouble", ["500", "rubbish"])
def test_what_was_known_stays_while_the_service_answers_nonsense(
    notebook: Notebook, service: FakeService, trouble: str
) -> None:
    known = recovered(notebook)["service"]
    service.trouble = trouble
    shown = until(lambda: (s := notebook.status(fresh=True))["problem"] and s)
    assert shown["service"] == known
    assert shown["problem"].startswith("The service that keeps credits ")
    assert notebook.ask("POST", "vessl/api/pause", {}).status == 503
    assert "gpu-17" not in notebook.log


def test_a_service_that_hangs_holds_nobody_up(notebook: Notebook, service: FakeService) -> None:
    recovered(notebook)
    time.sleep(1.2)  # the least time between two questions
    service.trouble = "hang"
    began = time.monotonic()
    shown = notebook.status(fresh=True)
    assert time.monotonic() - began < 7
    assert shown["problem"].startswith("The service that keeps credits does not answer")
    assert shown["service"] is not None
    began = time.monotonic()
    assert notebook.status()["problem"] == shown["problem"]
    assert time.monotonic() - began < 4, "nobody waits while the service is left alone"


def test_strangers_and_other_sites_get_nothing(notebook: Notebook, service: FakeService) -> None:
    for method, path in (
        ("GET", "vessl/api/status"),
        ("POST", "vessl/api/pause"),
        ("PUT", "vessl/api/ports/web"),
        ("DELETE", "vessl/api/ports/web"),
    ):
        answer = notebook.ask(method, path, WEB if method == "PUT" else None, token=False)
        assert answer.status == 403
        assert set(answer.json) == {"message", "hint", "field"}
    assert not service.asked


def test_a_browser_needs_the_xsrf_token_to_change_something(notebook: Notebook, service: FakeService) -> None:
    page = notebook.ask("GET", "login", token=False)
    signed_in = notebook.ask("GET", f"login?token={USER_TOKEN}", token=False)
    sent = [*(page.headers.get_all("Set-Cookie") or []), *(signed_in.headers.get_all("Set-Cookie") or [])]
    cookies = "; ".join(cookie.split(";")[0] for cookie in sent)
    xsrf = re.search(r"_xsrf=([^;]+)", cookies)
    assert xsrf
    only_cookie = {"Cookie": cookies}
    assert notebook.ask("GET", "vessl/api/status", headers=only_cookie, token=False).status == 300
    for method, path in (
        ("POST", "vessl/api/pause"),
        ("PUT", "vessl/api/ports/web"),
        ("DELETE", "vessl/api/ports/web"),
    ):
        assert notebook.ask(method, path, WEB, headers=only_cookie, token=False).status == 403
    assert not service.paused
    assert not service.ports
    as_lab_does = only_cookie | {"X-XSRFToken": xsrf[1]}
    assert notebook.ask("PUT", "vessl/api/ports/web", WEB, headers=as_lab_does, token=False).status == 300
    assert list(service.ports) == ["web"]


def test_no_token_is_in_any_answer_log_or_file(notebook: Notebook, service: FakeService) -> None:
    """Runs after the others of this module, whose troubles sent the token back."""
    answers = [notebook.ask("GET", "vessl/api/status?fresh=1"), notebook.ask("GET", "api/status")]
    for trouble in ("rubbish", "other-json", "redirect", "500"):
        service.trouble = trouble
        answers.append(notebook.ask("GET", "vessl/api/status?fresh=1"))
        answers.append(notebook.ask("POST", "vessl/api/pause"))
        answers.append(notebook.ask("PUT", "vessl/api/ports/web", WEB))
    for answer in answers:
        assert HUB_TOKEN not in str(answer.headers) + answer.body.decode()
    assert HUB_TOKEN not in notebook.log
    assert "Traceback" not in notebook.log
    assert WORKSPACE_ID not in notebook.log
