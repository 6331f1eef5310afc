"""Fixtures of the Lab extension's tests: a stand-in service, and a real notebook server of one workspace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_service import FakeService
from lab_parts import Notebook, in_workspace


@pytest.fixture(scope="module")
def _service() -> Iterator[FakeService]:
    service = FakeService()
    yield service
    service.close()


@pytest.fixture(scope="module")
def notebook(_service: FakeService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """A notebook server of a workspace, for all tests of a module; a question is due at every second."""
    folder = tmp_path_factory.mktemp("notebook") / "home"
    config = "c.VesslLab.ask_seconds = 1\nc.VesslLab.hidden_ports = ['1-1023', '2024']"
    running = Notebook(folder, in_workspace(_service), config=config)
    yield running
    running.stop()
    assert "Unclosed" not in running.log, "connections are let go when the server ends"


@pytest.fixture
def service(_service: FakeService) -> Iterator[FakeService]:
    """The service of that workspace, as new."""
    _service.trouble, _service.ports, _service.mounts, _service.paused = "", {}, [], 0
    _service.release.clear()
    _service.asked.clear()
    yield _service
    _service.trouble = ""
    _service.release.set()
