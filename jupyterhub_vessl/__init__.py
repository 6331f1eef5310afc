"""Turn any JupyterHub into a GPU cloud for an organization."""

from ._version import __version__

__all__ = ["__version__"]
