"""GGUF files: converted once to a folder of safetensors, which later loads read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from milora.errors import MiloraError
from milora.models.atomic_folder import atomic_folder

OnStep = Callable[[int, int], None]

_version = 1
_sample_bytes = 1 << 20


def cache_root() -> Path:
    """``$MILORA_HOME``, else ``milora`` in the user's cache folder."""
    home = os.environ.get("MILORA_HOME")
    if home:
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "milora"


def cached_folder(file: Path) -> Path:
    """Where the conversion of ``file`` lies or will lie; the name follows from size, head and tail of the file."""
    size = file.stat().st_size
    digest = hashlib.sha256(f"{_version}:{size}:".encode())
    with file.open("rb") as stream:
        digest.update(stream.read(_sample_bytes))
        stream.seek(max(0, size - _sample_bytes))
        digest.update(stream.read(_sample_bytes))
    return cache_root() / "models" / f"{file.stem}-{digest.hexdigest()[:12]}"


def converted(file: Path, on_step: OnStep) -> Path:
    """The folder with ``file``'s weights and tokenizer, made now where it is missing.

    Raises:
        MiloraError: ``model/unreadable`` when the file is no GGUF file or its architecture is unknown.
    """
    folder = cached_folder(file)
    if (folder / "config.json").is_file():
        return folder
    on_step(0, 3)
    try:
        # Four bits times a float16 scale need more bits than bfloat16 has: float32 keeps what the file says.
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        on_step(1, 3)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except MiloraError:
        raise
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise MiloraError(
            "model/unreadable", f"The GGUF file {file} cannot be read: {error}", file=str(file)
        ) from error
    on_step(2, 3)
    _drop_quantization(model)
    try:
        with atomic_folder(folder) as aside:
            model.save_pretrained(aside)
            tokenizer.save_pretrained(aside)
    except OSError as error:
        raise MiloraError(
            "run/disk",
            f"The converted model could not be written to {folder}: {error}",
            file=str(folder),
            hint="Free some space, or set MILORA_HOME to a folder on another disk.",
        ) from error
    on_step(3, 3)
    return folder


def _drop_quantization(model: PreTrainedModel) -> None:
    # The weights are plain tensors by now; transformers refuses to save them while these marks say otherwise.
    for mark in ("hf_quantizer", "quantization_method"):
        if hasattr(model, mark):
            delattr(model, mark)
    if hasattr(model.config, "quantization_config"):
        delattr(model.config, "quantization_config")
