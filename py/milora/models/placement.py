"""Where and how a model runs: device, dtype and attention, chosen or checked, with the reason in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch

from milora.errors import MiloraError

Quantization = Literal["none", "nf4", "int8"]
"""How a base model's linear modules are held; what else it has keeps its dtype."""

_dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Placement:
    """The device, dtype, attention implementation and quantisation of a model, and why device and dtype were taken.

    ``attention`` may be ``auto`` until the model is opened, which picks among those that it has.
    """

    device: torch.device
    dtype: torch.dtype
    attention: str
    reason: str
    quantization: Quantization = "none"


def choose_placement(device: str, dtype: str, attention: str, quantization: Quantization = "none") -> Placement:
    """Turns ``auto`` into a choice, but for the attention, which depends on the model, and checks everything else.

    Raises:
        MiloraError: ``input/invalid-spec`` for a device that is unknown or not there; ``environment/missing-package``
            for a quantised model without bitsandbytes.
    """
    if quantization != "none" and find_spec("bitsandbytes") is None:
        message = f"A base model in {quantization} needs the Python package bitsandbytes."
        hint = "Install it with pip install bitsandbytes, or set train.quantization to none."
        raise MiloraError("environment/missing-package", message, path="train.quantization", hint=hint)
    chosen_device, device_reason = _device(device)
    chosen_dtype, dtype_reason = _dtype(dtype, chosen_device)
    reason = f"{device_reason}, {dtype_reason}."
    return Placement(chosen_device, chosen_dtype, attention, reason, quantization)


def available_devices() -> list[tuple[str, str, int]]:
    """Devices that torch can use: type, name and memory in bytes (0 where torch does not say)."""
    devices = [
        (f"cuda:{index}", torch.cuda.get_device_name(index), torch.cuda.get_device_properties(index).total_memory)
        for index in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        devices.append(("mps", "Apple GPU", 0))
    return [*devices, ("cpu", _cpu_name(), _total_memory())]


def _device(wanted: str) -> tuple[torch.device, str]:
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0), f"The GPU {torch.cuda.get_device_name(0)} is used"
        if torch.backends.mps.is_available():
            return torch.device("mps"), "The Apple GPU is used"
        build = "torch has no CUDA build" if torch.version.cuda is None else "torch sees no GPU"
        return torch.device("cpu"), f"The CPU is used because {build}"
    allowed = ["auto", *(name for name, _, _ in available_devices())]
    if torch.cuda.is_available():
        allowed.append("cuda")
    if wanted not in allowed:
        raise MiloraError(
            "input/invalid-spec",
            f"The device {wanted!r} is not there; allowed: {', '.join(allowed)}.",
            path="device",
            found=wanted,
            allowed=", ".join(allowed),
        )
    return torch.device(wanted), f"The device {wanted} was asked for"


def _dtype(wanted: str, device: torch.device) -> tuple[torch.dtype, str]:
    if wanted != "auto":
        slow = wanted == "bfloat16" and device.type == "cpu" and fast_bfloat16() is None
        remark = ", though this CPU has no products for it and is several times faster in float32" if slow else ""
        return _dtypes[wanted], f"the base model is held in {wanted} as asked{remark}"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "the base model is held in bfloat16"
        return torch.float32, "the base model is held in float32 because this GPU has no bfloat16"
    feature = fast_bfloat16()
    if device.type == "cpu" and feature is not None:
        return torch.bfloat16, f"the base model is held in bfloat16 because this CPU multiplies it fast ({feature})"
    return torch.float32, "the base model is held in float32"


def fast_bfloat16() -> str | None:
    """The CPU's feature that makes bfloat16 products fast, if it has one."""
    probes = {"AMX": "_is_amx_tile_supported", "AVX512-BF16": "_is_avx512_bf16_supported"}
    for name, probe in probes.items():
        ask = getattr(torch.cpu, probe, None)
        if ask is not None and ask():
            return name
    flags = _cpu_info("flags", "Features").split()
    return next((flag for flag in ("amx_bf16", "avx512_bf16", "bf16") if flag in flags), None)


def is_amd() -> bool:
    """Whether the CPU is of AMD's make, whatever its name; known on Linux alone."""
    return _cpu_info("vendor_id") == "AuthenticAMD"


def _cpu_info(*keys: str) -> str:
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return ""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def _cpu_name() -> str:
    return _cpu_info("model name", "Model") or "CPU"


def _total_memory() -> int:
    file = Path("/proc/meminfo")
    if not file.is_file():
        return 0
    first = file.read_text(encoding="utf-8").splitlines()[0].split()
    return int(first[1]) * 1024
