"""A named server never takes an address of its owner's default server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from jupyterhub_vessl.model.paths import SERVER_PATHS

ADDRESSES = """
import json
from jupyterlab.labapp import LabApp

def patterns(rules):
    for rule in rules:
        pattern = getattr(getattr(rule, "matcher", None), "regex", None)
        if pattern is not None:
            yield pattern.pattern
        yield from patterns(getattr(rule.target, "rules", ()))

server = LabApp.initialize_server(argv=["--no-browser", "--port=0", "--allow-root"])
print(json.dumps(list(patterns(server.web_app.default_router.rules))))
"""


def first_names(pattern: str) -> set[str]:
    """What addresses of this pattern begin with: ``/(?P<mode>lab|doc)/…`` gives lab and doc."""
    start = re.match(r"\^?/(?:\(\?P<\w+>|\()?([a-z_\\.|-]*)", pattern)
    return set(start.group(1).replace("\\", "").split("|")) - {"", ".", ".."} if start else set()


def test_every_address_of_jupyterlab_and_its_extensions_is_reserved(tmp_path: Path):
    environment = {**os.environ, "HOME": str(tmp_path), "JUPYTERHUB_API_TOKEN": "t0ken"}
    environment |= {"VESSL_WORKSPACE_ID": "0" * 32, "VESSL_SERVICE_URL": "http://127.0.0.1:9/services/vessl/"}
    asked = subprocess.run([sys.executable, "-c", ADDRESSES], env=environment, cwd=tmp_path, capture_output=True)
    assert asked.returncode == 0, asked.stderr.decode()
    found = set().union(*map(first_names, json.loads(asked.stdout)))
    assert {"lab", "doc", "vessl", "proxy", "api", "files", "login", "server-proxy"} <= found
    assert found - SERVER_PATHS == set()
