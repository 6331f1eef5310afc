"""How much of its GPUs a workspace uses, where there is NVIDIA's library."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GPUS_MAX = 64
AGAIN_SECONDS = 600.0
NAME_CHARACTERS_MAX = 80


@dataclass(frozen=True)
class Gpu:
    """One GPU, or a part of one; ``percent`` is None where it does not count that."""

    name: str
    percent: int | None
    memory_bytes: int
    memory_bytes_limit: int


class GpuMeter:
    """Measures the GPUs that the workspace may use; there are none where the library or the driver is missing.

    The library is loaded when it is first asked, and asked again only after ten minutes when it did not work.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._visible = environment.get("CUDA_VISIBLE_DEVICES")
        self._library: Any = None
        self._not_before = -1e9
        self.given: int | None = None

    def measure(self) -> tuple[Gpu, ...]:
        """The GPUs now.  For one thread at a time; the driver may take long."""
        if self.given == 0 or not self._load():
            return ()
        try:
            found = tuple(gpu for handle in self._handles()[:GPUS_MAX] if (gpu := self._gpu(handle)))
        except Exception:
            self._library, self._not_before = None, time.monotonic() + AGAIN_SECONDS
            return ()
        # Without a word on which are ours, more than were given are also other people's.
        if self._visible is None and self.given is not None and len(found) > self.given:
            return ()
        return found

    def _load(self) -> bool:
        if self._library is None and time.monotonic() >= self._not_before:
            try:
                library = importlib.import_module("pynvml")
                library.nvmlInit()
                self._library = library
            except Exception:
                self._not_before = time.monotonic() + AGAIN_SECONDS
        return self._library is not None

    def _handles(self) -> list[Any]:
        nvml = self._library
        count = nvml.nvmlDeviceGetCount()
        if self._visible is None:
            return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        handles = []
        for word in (part.strip() for part in self._visible.split(",")):
            if word.startswith(("GPU-", "MIG-")):
                handles.append(nvml.nvmlDeviceGetHandleByUUID(word))
            elif word.isdecimal() and int(word) < count:
                handles.append(nvml.nvmlDeviceGetHandleByIndex(int(word)))
            else:
                break  # as CUDA does: what follows a wrong word is not visible
        return handles

    def _gpu(self, handle: Any) -> Gpu | None:
        nvml = self._library
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            name = nvml.nvmlDeviceGetName(handle)
        except nvml.NVMLError:
            return None
        try:
            percent = int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        except nvml.NVMLError:
            percent = None  # parts of a GPU do not count it
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        text = "".join(c for c in text if c.isprintable())[:NAME_CHARACTERS_MAX]
        return Gpu(text, percent, int(memory.used), int(memory.total))
