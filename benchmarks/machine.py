"""The line that says where figures come from; without it they mean nothing."""

import os
import platform
import sqlite3
from pathlib import Path
from statistics import median
from time import perf_counter


def describe(folder: Path) -> str:
    """Processor, cores, versions, and what a sync costs in the folder that the databases are made in."""
    return (
        f"{computer()}; SQLite {sqlite3.sqlite_version}; files on {_filesystem(folder)}, "
        f"where appending 4 KiB and `fsync` take {_sync_cost(folder) * 1e6:.0f} µs"
    )


def computer() -> str:
    """Processor, cores and versions alone, for what touches no files."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{_processor()}, {cores} cores; {platform.system()} {platform.release()}; Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _filesystem(folder: Path) -> str:
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "an unknown file system"
    inside = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(inside)[1] if inside else "an unknown file system"


def _sync_cost(folder: Path) -> float:
    probe = folder / "sync-probe"
    costs: list[float] = []
    with probe.open("wb", buffering=0) as file:
        for _ in range(100):
            started = perf_counter()
            file.write(b"\0" * 4096)
            os.fsync(file.fileno())
            costs.append(perf_counter() - started)
    probe.unlink()
    return median(costs)
