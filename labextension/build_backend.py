"""The build backend of the distribution: setuptools, with the JupyterLab extension built first.

pyproject.toml names it (PEP 517, in-tree).  What setuptools does is untouched; before a wheel is made, the assets
are built when they are missing or older than their sources (`build_assets`).  A source distribution carries both,
so that an install from it needs no Node.js.
"""

from __future__ import annotations

from typing import Any

import build_assets
from setuptools import build_meta
from setuptools.build_meta import build_sdist, get_requires_for_build_sdist, prepare_metadata_for_build_wheel

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable


def _node_requirements() -> list[str]:
    needed = not build_assets.is_skipped() and not build_assets.is_fresh() and build_assets.node_folder() is None
    return [build_assets.NODE_REQUIREMENT] if needed else []


def _ensure_assets() -> None:
    try:
        build_assets.ensure_assets()
    except build_assets.BuildError as error:
        raise SystemExit(str(error)) from None


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What setuptools needs, and Node.js when it must be used and is not there."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_node_requirements()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """As for a wheel."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_node_requirements()]


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """A wheel with the built assets among its data files."""
    _ensure_assets()
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """An editable wheel; `build_assets` ``develop`` makes JupyterLab find the assets of the checkout."""
    _ensure_assets()
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
