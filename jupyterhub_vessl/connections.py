"""HTTP connections of every part that asks another one."""

from __future__ import annotations

from typing import Any

import aiohttp


def open_session(**options: Any) -> aiohttp.ClientSession:
    """A session that resolves names as the rest of the machine does, in a thread; ``options`` as aiohttp takes them.

    The resolver that aiohttp takes where c-ares is installed opens an inotify instance for each session and gives it
    back a second later, so a burst of starts would use up those of all programs of the same user (128 on Linux).
    """
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver()), **options)
