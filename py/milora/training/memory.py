"""What a computation takes of a device's memory, and what is free."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_CGROUP = Path("/sys/fs/cgroup")
_RESET_PEAK = "5"


class MemoryGauge:
    """Measures from its making on: the most that was in use above what was in use then.

    On CUDA it is what torch allocated, on a CPU the process's resident memory (Linux; 0 elsewhere).
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
            return
        _give_memory_back()
        # Where it may not be reset, the peak is an older one: too much is better than too little.
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK)
        self._before = _kilobytes(_STATUS, "VmRSS") or 0

    def used(self) -> int:
        """Bytes."""
        if self._device.type == "cuda":
            return max(0, torch.cuda.max_memory_allocated(self._device) - self._before)
        return max(0, (_kilobytes(_STATUS, "VmHWM") or 0) - self._before)


def free_bytes(device: torch.device) -> int | None:
    """Bytes that a computation may still take; None where the system does not say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch holds and does not use is free too.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    available = _kilobytes(Path("/proc/meminfo"), "MemAvailable")
    allowed = _cgroup_left()
    known = [value for value in (available, allowed) if value is not None]
    return min(known) if known else None


def _give_memory_back() -> None:
    """Gives what is freed back to the system, where the C library can: taken again, it would not count."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _kilobytes(file: Path, key: str) -> int | None:
    """A line such as ``VmRSS:  1234 kB`` of a file of /proc, in bytes."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith(f"{key}:")), None)
    return int(found[1]) * 1024 if found is not None else None


def _cgroup_left() -> int | None:
    """What the limit of the outermost control group (version 2) leaves, a container's; None without a limit.

    Pages of files that nobody used lately are given back first, such as those of weights that were just read: they
    count as free, as they do in MemAvailable.
    """
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="utf-8").strip()
        current = int((_CGROUP / "memory.current").read_text(encoding="utf-8"))
        statistics = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="utf-8").splitlines())
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - current + int(statistics.get("inactive_file", 0)))
