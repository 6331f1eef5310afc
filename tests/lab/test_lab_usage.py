"""What a workspace uses of processors, memory and GPUs, on this machine and on control groups written down."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyterhub_vessl_lab.gpus import Gpu, GpuMeter
from jupyterhub_vessl_lab.groups import ControlGroup, Use
from jupyterhub_vessl_lab.status import usage_answer
from jupyterhub_vessl_lab.usage import Given, Usage, UsageMeter

# -- processors and memory ----------------------------------------------------


def machine(folder: Path, files: dict[str, str], mounts: str, own: str) -> ControlGroup:
    """A machine whose control groups are these files."""
    for name, text in files.items() | {("proc/mountinfo", mounts), ("proc/cgroup", own)}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return ControlGroup(proc=folder / "proc", root=folder)


V2 = "30 1 0:1 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"


def test_version_2_counts_the_nearest_group_with_a_limit(tmp_path: Path) -> None:
    group = machine(
        tmp_path,
        {
            "sys/fs/cgroup/job/memory.max": "1000\n",
            "sys/fs/cgroup/job/memory.current": "700\n",
            "sys/fs/cgroup/job/memory.stat": "anon 1\ninactive_file 200\n",
            "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/job/cpu.stat": "usage_usec 12345\nuser_usec 1\n",
            "sys/fs/cgroup/job/task/memory.max": "max\n",
            "sys/fs/cgroup/job/task/memory.current": "300\n",
            "sys/fs/cgroup/job/task/cpu.max": "max 100000\n",
        },
        V2.format(root="/"),
        "0::/job/task\n",
    )
    assert group.memory(None) == Use(500, 1000)
    assert group.cpu(None) == Use(12345, 1500)
    assert group.memory(600) == Use(500, 1000)
    assert group.memory(499) is None, "a limit far above what was given is somebody else's"
    assert group.cpu(100) is None


def test_version_2_inside_a_container_is_the_mount_itself(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory.max": "1000", "sys/fs/cgroup/memory.current": "600"}
    assert machine(tmp_path, files, V2.format(root="/kubepods/pod1/c1"), "0::/kubepods/pod1/c1\n").memory(None) == Use(
        600, 1000
    )
    assert machine(tmp_path, files, V2.format(root="/"), "0::/\n").memory(None) == Use(600, 1000)
    outside = machine(tmp_path, files, V2.format(root="/"), "0::/../../elsewhere\n")
    assert outside.memory(None) == Use(600, 1000)


def test_version_1_counts_memory_and_processors(tmp_path: Path) -> None:
    mounts = "".join(
        f"3 1 0:{n} / /cg/{name} rw - cgroup cgroup rw,{name}\n" for n, name in enumerate(("memory", "cpu", "cpuacct"))
    )
    group = machine(
        tmp_path,
        {
            "cg/memory/w/memory.limit_in_bytes": "1000",
            "cg/memory/w/memory.usage_in_bytes": "900",
            "cg/memory/w/memory.stat": "inactive_file 1\ntotal_inactive_file 100\n",
            "cg/cpu/w/cpu.cfs_quota_us": "50000",
            "cg/cpu/w/cpu.cfs_period_us": "100000",
            "cg/cpuacct/w/cpuacct.usage": "7000",
        },
        mounts,
        "4:memory:/w\n2:cpuacct:/w\n1:cpu:/w\n0::/\n",
    )
    assert group.memory(None) == Use(800, 1000)
    assert group.cpu(None) == Use(7, 500)


def test_groups_without_limits_and_rubbish_say_nothing(tmp_path: Path) -> None:
    root = {"cg/memory/memory.limit_in_bytes": "9223372036854771712", "cg/memory/memory.usage_in_bytes": "5"}
    mounts = "3 1 0:1 / /cg/memory rw - cgroup cgroup rw,memory\nrubbish\n - cgroup2\n"
    group = machine(tmp_path, root, mounts, "1:memory:/\nrubbish\n")
    assert group.memory(None) is None
    assert group.cpu(None) is None
    assert ControlGroup(proc=tmp_path / "nothing").memory(None) is None


def test_without_a_group_the_own_processes_are_added_up(tmp_path: Path) -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        meter = UsageMeter(lambda: [os.getpid(), busy.pid, 999_999_999], group=ControlGroup(proc=tmp_path))
        meter.given = Given(cpu_millis=1000, memory_bytes=1 << 40)
        first = meter.measure()
        assert first.memory_bytes is not None
        assert first.memory_bytes > 10 << 20
        assert (first.cpu_millis_limit, first.memory_bytes_limit) == (None, None)
        time.sleep(0.3)
        percent = meter.measure().cpu_percent
        assert percent is not None
        assert percent > 5
    finally:
        busy.kill()
        busy.wait()


def test_what_cannot_be_measured_is_unknown_and_not_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = ControlGroup(proc=tmp_path)
    nobody = UsageMeter(list, group=empty).measure()
    assert (nobody.cpu_percent, nobody.memory_bytes) == (None, None)
    denied = UsageMeter(lambda: [os.getpid()], group=empty)

    def deny(process: psutil.Process) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "cpu_times", deny)
    monkeypatch.setattr(psutil.Process, "memory_info", deny)
    assert (denied.measure().cpu_percent, denied.measure().memory_bytes) == (None, None)
    files = {"sys/fs/cgroup/cpu.max": "150000 100000\n", "sys/fs/cgroup/cpu.stat": "nr_periods 1\n"}
    assert machine(tmp_path / "v2", files, V2.format(root="/"), "0::/\n").cpu(None) is None


def test_the_answer_says_what_is_unknown() -> None:
    given, gpu = Given(cpu_millis=1000), Gpu("H100", None, 1, 80)
    assert usage_answer(None, [], given) is None
    shown = usage_answer(None, [gpu], given)
    assert shown is not None
    assert (shown["cpu_percent"], shown["memory_bytes"], shown["cpu_millis_limit"]) == (None, None, 1000)
    shown = usage_answer(Usage(None, None, 5, None), [], given)
    assert shown is not None
    assert (shown["cpu_percent"], shown["memory_bytes"]) == (None, 5)


def test_a_percentage_is_of_one_way_of_counting(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu.max": "150000 100000\n", "sys/fs/cgroup/cpu.stat": "usage_usec 5\n"}
    group = machine(tmp_path, files, V2.format(root="/"), "0::/\n")
    meter = UsageMeter(lambda: [os.getpid()], group=group)
    assert meter.measure().cpu_percent == 0.0
    meter.given = Given(cpu_millis=100)  # now it is known that the group is not the workspace's
    assert meter.measure().cpu_percent is None
    assert meter.measure().cpu_percent is not None


# -- GPUs ---------------------------------------------------------------------


class NVMLError(Exception):
    pass


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    """NVIDIA's library with two GPUs, of which the second does not count its use."""
    module = types.ModuleType("pynvml")
    calls: list[str] = []

    def utilization(handle: Any) -> Any:
        if handle == 1:
            raise NVMLError
        return types.SimpleNamespace(gpu=42)

    for name, function in {
        "nvmlInit": lambda: calls.append("init"),
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetHandleByUUID": lambda uuid: 1,
        "nvmlDeviceGetName": lambda handle: b"NVIDIA H100\x1b",
        "nvmlDeviceGetMemoryInfo": lambda handle: types.SimpleNamespace(used=1, total=80),
        "nvmlDeviceGetUtilizationRates": utilization,
        "NVMLError": NVMLError,
        "calls": calls,
    }.items():
        setattr(module, name, function)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


def test_gpus_that_the_workspace_may_use_are_measured(nvml: Any) -> None:
    both = [("NVIDIA H100", 42, 1, 80), ("NVIDIA H100", None, 1, 80)]

    def seen(environment: dict[str, str], given: int | None = None) -> list[tuple[object, ...]]:
        meter = GpuMeter(environment)
        meter.given = given
        return [(g.name, g.percent, g.memory_bytes, g.memory_bytes_limit) for g in meter.measure()]

    assert seen({}) == both
    assert seen({"CUDA_VISIBLE_DEVICES": "0"}) == both[:1]
    assert seen({"CUDA_VISIBLE_DEVICES": "MIG-1, 0"}) == both[::-1]
    assert seen({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert seen({"CUDA_VISIBLE_DEVICES": "9,0"}) == []
    assert seen({}, given=0) == []
    assert seen({}, given=1) == [], "which of the two is ours is not known"
    assert seen({}, given=2) == both


def test_a_machine_without_the_library_or_the_driver_is_silent(nvml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        nvml.calls.append("init")
        raise NVMLError

    nvml.nvmlInit = fail
    meter = GpuMeter({})
    assert [meter.measure() for _ in range(3)] == [()] * 3
    assert len(nvml.calls) == 1, "it is not tried at every look"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert GpuMeter({}).measure() == ()
