"""Offers and drafts to draw the form from, and the drawn form as a browser reads it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from jupyterhub_vessl_spawner.form_fields import Draft
from jupyterhub_vessl_spawner.form_view import FormView, form_view

import jupyterhub_vessl.demo
from jupyterhub_vessl.model.availability import Capacity
from jupyterhub_vessl.model.lifecycle import State
from jupyterhub_vessl.model.units import GIB
from jupyterhub_vessl.model.volumes import declared_volumes
from jupyterhub_vessl.model.wire import Me, OfferView, TeamView, WorkspaceView
from jupyterhub_vessl.model.wire_credits import CreditsView
from jupyterhub_vessl.offer import load_offer, parse_offer
from jupyterhub_vessl.service.offer_view import offer_view

NOW_MS = 1_795_000_000_000  # Wed 2026-11-18 11:06:40 UTC
LAPTOP = Capacity(cpu_millis=2000, memory_bytes=8 * GIB)
DEMO = Path(jupyterhub_vessl.demo.__file__).parent / "vessl.yaml"
BROWSER = {"name": [""], "team": ["vision"], "preset": ["notebook"], "spec": [""], "image": [""]}
"""What a browser without JavaScript sends when nothing is touched."""
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&"


def team(name: str, title: str, *, organization: str = "acme", may_create: bool = True) -> TeamView:
    role = "member" if may_create else "viewer"
    return TeamView(organization=organization, name=name, title=title, role=role, may_create=may_create)


def credits(balance_micros: int, rate_micros_per_hour: int = 0, **changes: Any) -> CreditsView:
    values = {
        "organization": "acme",
        "title": "Acme Research",
        "currency": "USD",
        "contact": "ada@acme.example",
        "balance_micros": balance_micros,
        "rate_micros_per_hour": rate_micros_per_hour,
        "buffer_micros": 10_000_000,
        "minimum_top_up_micros": 1_000_000,
        "empty_ms": None,
        "pause_ms": None,
        "at_ms": NOW_MS,
    }
    return CreditsView(**(values | changes))


VISION, SPEECH = team("vision", "Computer Vision"), team("speech", "Speech")


def offered(
    *, teams: tuple[TeamView, ...] = (VISION, SPEECH), money: tuple[CreditsView, ...] | None = None, **changes: Any
) -> OfferView:
    """The demo's offer on a small laptop, as a person of these teams sees it."""
    money = (credits(41_200_000),) if money is None else money
    me = Me(name="mia", memberships=(), teams=teams, admin_of=(), credits=money)
    offer = load_offer(DEMO)
    return offer_view(offer, me, {"laptop": LAPTOP}, declared_volumes(offer)).model_copy(update=changes)


CONTAINERS = """
custom_images: {registries: [quay.io/acme/, ghcr.io/acme/], teams: [vision]}
registry_credentials:
  acme-quay: {kubernetes_secret: quay, teams: [vision]}
  speech-quay: {kubernetes_secret: speech, teams: [speech]}
"""
"""What an offer says about images of one's own: the team vision may start them, the team speech may not."""


def with_containers(
    text: str = CONTAINERS, *, teams: tuple[TeamView, ...] = (VISION, SPEECH), **changes: Any
) -> OfferView:
    """The demo's offer with a Kubernetes cluster beside the laptop, and with what ``text`` adds to it."""
    demo = DEMO.read_text()
    laptop = "laptop: {kind: local, title: This machine}"
    assert laptop in demo
    offer = parse_offer(demo.replace(laptop, f"{laptop}\n  seoul: {{kind: kubernetes, title: Seoul}}") + text)
    me = Me(name="mia", memberships=(), teams=teams, admin_of=(), credits=(credits(41_200_000),))
    large = Capacity(cpu_millis=192_000, memory_bytes=2048 * GIB, gpus={"H100": 8, "A100": 8})
    capacities = {"laptop": LAPTOP, "seoul": large}
    return offer_view(offer, me, capacities, declared_volumes(offer)).model_copy(update=changes)


def view_of(offer: OfferView, draft: Draft | None = None, refused: Any = None) -> FormView:
    view = form_view(offer, draft or Draft(), refused, NOW_MS)
    assert isinstance(view, FormView)
    return view


def paused(**changes: Any) -> WorkspaceView:
    values = {
        "id": "w1",
        "user": "mia",
        "server_name": "",
        "title": "fine-tune llama",
        "organization": "acme",
        "team": "speech",
        "currency": "USD",
        "cluster": "laptop",
        "cluster_title": "This machine",
        "spec": "cpu-small",
        "spec_title": "CPU small",
        "image_title": "Python",
        "state": State.PAUSED,
        "since_ms": NOW_MS,
        "created_ms": NOW_MS,
        "rate_micros_per_hour": 0,
        "spent_micros": 0,
    }
    return WorkspaceView(**(values | changes))


class Page(HTMLParser):
    """The form as a browser takes it apart: labels, controls, ids, and what would be sent."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.controls: list[dict[str, str | None]] = []
        self.labels: set[str] = set()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.sent: dict[str, list[str]] = {}
        self._select: dict[str, str | None] | None = None
        self._template = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if tag == "template":
            self._template += 1
        if self._template:
            return
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "label":
            self.labels.add(str(values["for"]))
        if tag in ("input", "select", "textarea"):
            self.controls.append(values)
            self._select = values if tag == "select" else None
        if tag == "input" and "disabled" not in values:
            kind = values.get("type", "text")
            if kind not in ("radio", "checkbox") or "checked" in values:
                self._send(values)
        if tag == "option" and self._select and "selected" in values:
            self._send({"name": self._select["name"], "value": values["value"]})

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._template -= 1

    def _send(self, values: dict[str, str | None]) -> None:
        self.sent.setdefault(str(values["name"]), []).append(values.get("value") or "")
