"""The service of tests/service for tests of the command line: real HTTP, and only the hub is a stand-in."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[1] / "service"


def _fixtures_of_the_service():
    """tests/service/conftest.py under a name of its own, for pytest calls every conftest the same."""
    name = "service_fixtures"
    if name not in sys.modules:
        if str(SERVICE) not in sys.path:
            sys.path.append(str(SERVICE))
        spec = importlib.util.spec_from_file_location(name, SERVICE / "conftest.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_service = _fixtures_of_the_service()
clock, hub, offer, service = _service.clock, _service.hub, _service.offer, _service.service


@pytest.fixture
def run_json(run):
    """The answer of a command that must work."""

    async def command(*arguments, who="ada"):
        result = await run(*arguments, "-o", "json", who=who)
        assert (result.exit_code, result.stderr) == (0, ""), result.stderr
        return json.loads(result.stdout)

    return command
