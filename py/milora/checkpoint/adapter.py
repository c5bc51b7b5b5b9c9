"""An adapter's folder: ``adapter_config.json``, ``adapter_model.safetensors``, ``README.md``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from milora.errors import MiloraError
from milora.models.atomic_folder import atomic_folder
from milora.tuners.adalora import no_false_alarms
from milora.tuners.build import build_config
from milora.tuners.methods import method_of

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

_FIRST_FIELDS = ("peft_type", "task_type", "base_model_name_or_path", "inference_mode", "format_version", "requires")
_LEFT_OUT = ("auto_mapping", "revision")

_README = """---
library_name: peft
{base}---
# A {method} adapter

{requires}
```python
{imports}from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base_literal})
model = PeftModel.from_pretrained(base, {folder_literal})
```
"""


def adapter_tensors(model: PeftModel, adapter: str) -> dict[str, Tensor]:
    """An adapter's tensors by the keys of its file (without the adapter's name), on their device."""
    if adapter not in model.peft_config:
        raise MiloraError(
            "adapter/not-found",
            f"The model has no adapter {adapter!r}; it has {', '.join(sorted(model.peft_config)) or 'none'}.",
            found=adapter,
        )
    with no_false_alarms(model.peft_config[adapter]):
        return get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)


def adapter_config(model: PeftModel, adapter: str) -> dict[str, Any]:
    """An adapter's config as its file holds it: inference mode, keys and lists in a stable order."""
    fields = model.peft_config[adapter].to_dict()
    fields["inference_mode"] = True
    plain = {key: _plain(value) for key, value in fields.items() if key not in _LEFT_OUT}
    first = [key for key in _FIRST_FIELDS if key in plain]
    # Our methods' fields keep their order, the long plan last; the order of PEFT's own configs is PEFT's affair.
    last = [key for key in ("layers",) if key in plain]
    rest = [key for key in plain if key not in (*first, *last)]
    return {key: plain[key] for key in (*first, *(rest if "format_version" in plain else sorted(rest)), *last)}


def save_adapter(model: PeftModel, adapter: str, folder: str | Path) -> int:
    """Writes an adapter's folder, whole or not at all, and reads the file's keys back; returns its bytes.

    Raises:
        MiloraError: ``adapter/not-found``; ``run/disk`` where it cannot be written; ``internal`` where the file lacks
            a tensor.
    """
    folder = Path(folder).absolute()
    live = adapter_tensors(model, adapter)
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in live.items()}
    if not tensors:
        raise MiloraError("internal", f"Adapter {adapter!r} has no tensors to save.")
    config = adapter_config(model, adapter)
    try:
        with atomic_folder(folder) as fresh:
            _write(fresh, tensors, config, folder.name)
            return sum(file.stat().st_size for file in fresh.iterdir())
    # safetensors wraps the operating system's refusal in its own error.
    except (OSError, SafetensorError) as error:
        raise MiloraError(
            "run/disk",
            f"Could not write the adapter to {folder}: {error}. What was there before is unchanged.",
            file=str(folder),
            hint="Free some space, or save to a folder on another disk.",
        ) from error


def _write(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any], name: str) -> None:
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    _check_written(folder / WEIGHTS_FILE, tensors)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(config, name), encoding="utf-8")


def read_adapter(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads an adapter's config and tensors (on the CPU), and checks that the config is one of ours.

    Raises:
        MiloraError: ``adapter/not-found``, ``adapter/unreadable``, ``adapter/mismatch``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MiloraError("adapter/not-found", f"There is no adapter folder {folder}.", file=str(folder))
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise MiloraError(
                "adapter/not-found",
                f"{folder} is not an adapter's folder: it has no {name}.",
                file=str(folder / name),
            )
    config = _read_config(folder / CONFIG_FILE)
    return config, _read_tensors(folder / WEIGHTS_FILE)


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MiloraError("adapter/unreadable", f"{file} is not valid JSON: {error}", file=str(file)) from error
    if not isinstance(config, dict):
        raise MiloraError("adapter/unreadable", f"{file} must hold a JSON object.", file=str(file))
    try:
        build_config(config)
    except MiloraError as error:
        raise MiloraError(error.code, f"{file}: {error.message}", **{**error.details, "file": str(file)}) from error
    return config


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(file, device="cpu")
    except (OSError, SafetensorError) as error:
        raise MiloraError(
            "adapter/unreadable",
            f"{file} ({file.stat().st_size} bytes) is not a whole safetensors file: {error}. "
            "It may be truncated; copy it again.",
            file=str(file),
        ) from error
    if not tensors:
        raise MiloraError("adapter/unreadable", f"{file} holds no tensors.", file=str(file))
    return tensors


def _check_written(file: Path, tensors: dict[str, Tensor]) -> None:
    with safe_open(file, framework="pt") as written:
        keys = set(written.keys())
        for key, tensor in tensors.items():
            if key not in keys or not torch.equal(written.get_tensor(key), tensor):
                raise MiloraError("internal", f"{key} is not in {file} as it was saved.", file=str(file))


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else value


def _readme(config: dict[str, Any], folder_name: str) -> str:
    base = config.get("base_model_name_or_path") or "the-base-model"
    # In memory it is a member of PEFT's enum, whose value is the name.
    peft_type = getattr(config["peft_type"], "value", config["peft_type"])
    method = method_of(peft_type)
    ours = method.tuner is not None
    return _README.format(
        base=f"base_model: {json.dumps(base)}\n",
        base_literal=json.dumps(base),
        folder_literal=json.dumps(folder_name),
        method=method.hooks.label_of(build_config(config)),
        imports="import milora  # registers the adapter's type with PEFT\n" if ours else "",
        requires=(
            "It needs the Python package `milora`: import it before loading the adapter, or PEFT stops with "
            f"`KeyError: '{peft_type}'`."
            if ours
            else "It loads with PEFT alone."
        ),
    )
