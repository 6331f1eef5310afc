"""Where a single-user server is, and whether it answers there."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

_TRY = aiohttp.ClientTimeout(total=2.0)


async def answers(session: aiohttp.ClientSession, url: str, context: Any) -> bool:
    """Whether a server speaks HTTP there and is not broken; ``context`` is what aiohttp takes as ``ssl``."""
    try:
        async with session.get(url, ssl=context, allow_redirects=False, timeout=_TRY) as response:
            return response.status < 500
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
        return False


def as_url(address: str | tuple[str, int], *, secure: bool) -> str:
    """What a start returned, as a URL."""
    if isinstance(address, str):
        return address
    ip, port = address
    host = f"[{ip}]" if ":" in ip else ip
    return f"{'https' if secure else 'http'}://{host}:{port}"
