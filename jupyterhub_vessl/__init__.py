"""Turn any JupyterHub into a GPU cloud for an organization.

Importing this package costs nothing: the parts that need JupyterHub are imported when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .hub_setup import setup_vessl

__all__ = ["__version__", "setup_vessl"]


def __getattr__(name: str) -> Any:
    if name == "setup_vessl":
        from .hub_setup import setup_vessl

        return setup_vessl
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
