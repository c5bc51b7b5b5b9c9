"""Checks of a model folder before anything is loaded, so that a fault names its file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from milora.errors import MiloraError


def check_config(folder: Path) -> None:
    """A folder needs a ``config.json``; an adapter's folder is told apart.

    Raises:
        MiloraError: ``model/unreadable``.
    """
    if (folder / "config.json").is_file():
        return
    is_adapter = (folder / "adapter_config.json").is_file()
    hint = "It holds an adapter: name its base model here." if is_adapter else "Name the folder that holds it."
    raise MiloraError("model/unreadable", f"The folder {folder} has no config.json.", file=str(folder), hint=hint)


def check_weights(folder: Path) -> None:
    """Every safetensors file of the folder must be as long as its own header says.

    Raises:
        MiloraError: ``model/unreadable``, naming the file.
    """
    files = _weight_files(folder)
    for file in files:
        _check_file(file)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [folder / name for name in names]
        for file in files:
            if not file.is_file():
                raise _unreadable(file, f"{file} is missing, though {index.name} names it")
        return files
    file = folder / "model.safetensors"
    if file.is_file():
        return [file]
    others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    found = f"only {', '.join(others)}" if others else "no weights"
    raise MiloraError(
        "model/unreadable",
        f"The folder {folder} has {found}; weights are read from safetensors files only.",
        file=str(folder),
        found=found,
        allowed="model.safetensors, or shards with model.safetensors.index.json",
        hint="Convert once: load the model with transformers and call save_pretrained(folder).",
    )


def _check_file(file: Path) -> None:
    size = file.stat().st_size
    if size < 8:
        raise _unreadable(file, f"{file} has {size} bytes, too few for a safetensors file")
    with file.open("rb") as stream:
        (header_bytes,) = struct.unpack("<Q", stream.read(8))
        if header_bytes > size - 8:
            raise _unreadable(file, f"{file} has {size} bytes, but its header alone needs {header_bytes + 8}")
        try:
            header = json.loads(stream.read(header_bytes))
        except ValueError as error:
            raise _unreadable(file, f"the header of {file} is no JSON ({error})") from error
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = 8 + header_bytes + max(ends, default=0)
    if size != expected:
        kind = "truncated" if size < expected else "too long"
        raise _unreadable(file, f"{file} is {kind}: {size} bytes, while its header asks for {expected}")


def _unreadable(file: Path, fault: str) -> MiloraError:
    return MiloraError(
        "model/unreadable",
        f"The weights cannot be read: {fault}.",
        file=str(file),
        hint="Copy or download the file again.",
    )
