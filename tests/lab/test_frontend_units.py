"""Runs the tests of the TypeScript modules that know nothing of JupyterLab (labextension/src/tests)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import build_assets
import pytest

TESTS_MIN = 25


def test_the_pure_modules_of_the_extension_pass_their_own_tests():
    folder = build_assets.node_folder()
    if folder is None or not (build_assets.HERE / "node_modules" / "typescript").is_dir():
        pytest.skip("needs Node.js and the packages of labextension/ (make labextension)")
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [str(Path(folder) / "npm"), "test"],
        cwd=build_assets.HERE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    passed = re.search(r"^# pass (\d+)$", said, re.MULTILINE)
    assert passed, said[-2000:]
    assert int(passed[1]) >= TESTS_MIN
