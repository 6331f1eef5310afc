"""Kubeconfig files for stand-ins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml


def write_kubeconfig(
    path: Path, contexts: Mapping[str, str], *, namespace: str = "default", tokens: Mapping[str, str] | None = None
) -> Path:
    """Write a kubeconfig with one context for each URL; the first one is the current one.  Returns the path.

    Parameters
    ----------
    contexts
        URLs by the name of the context; cluster and user have the same name.
    tokens
        Bearer tokens by the name of the context.
    """
    tokens = tokens or {}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": next(iter(contexts)),
        "clusters": [{"name": name, "cluster": {"server": url}} for name, url in contexts.items()],
        "users": [{"name": name, "user": {"token": tokens[name]} if name in tokens else {}} for name in contexts],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}} for name in contexts
        ],
    }
    Path(path).write_text(yaml.safe_dump(config, sort_keys=False))
    return Path(path)
