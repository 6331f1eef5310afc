"""A page as a person reads it, and the cookie of somebody who is signed in."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from html.parser import HTMLParser

from tornado.web import create_signed_value

HOUR_MS = 3_600_000
COOKIE_SECRET = hashlib.sha256(b"vessl cookies service-token").digest()
HOSTILE = "<script>alert(1)</script>\"'&amp;"


@dataclass
class Page:
    """An answer: status, headers, HTML, and its words as a reader sees them."""

    status: int
    headers: dict[str, str]
    source: str

    @property
    def text(self) -> str:
        words = _Words()
        words.feed(self.source)
        return " ".join(" ".join(words.found).split())

    def micros(self, element_id: str) -> list[int]:
        """Amounts inside an element, in order."""
        part = self.source.split(f'id="{element_id}"', 1)[1]
        return [int(number) for number in re.findall(r'data-micros="(-?\d+)"', part)]

    def row(self, workspace_id: str) -> str:
        return self.source.split(f'id="workspace-{workspace_id}"', 1)[1].split('<li class="vessl-workspace"', 1)[0]


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def cookie_of(who: str) -> str:
    """What the browser of somebody who signed in through the hub carries."""
    return "service-vessl=" + create_signed_value(COOKIE_SECRET, "service-vessl", who).decode()
