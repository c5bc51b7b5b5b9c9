"""Training that starts from an adapter's weights: the two plans must be the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from milora.checkpoint import read_adapter
from milora.errors import MiloraError
from milora.tuners import build_config
from milora.tuners.adalora import unpruned

# What does not make another adapter: where it was made, and how it is trained.
_FREE_FIELDS = (
    "inference_mode",
    "base_model_name_or_path",
    "lora_dropout",
    "init_lora_weights",
    # AdaLoRA's budget and schedule.
    "target_r",
    "tinit",
    "tfinal",
    "deltaT",
    "total_step",
    "orth_reg_weight",
    "requires",
    "peft_version",
    "auto_mapping",
    "revision",
)
_SHOWN = 3
_MOST_CHARACTERS = 60


def warm_start_tensors(folder: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    """The weights of an adapter's folder, to start training another adapter of the same plan.

    Args:
        folder: The adapter to start from.
        config: The plan of the adapter to train, as ``adapter_config.json`` holds it.

    Raises:
        MiloraError: ``adapter/mismatch`` that names what differs, and those of reading the folder.
    """
    found, tensors = read_adapter(folder)
    pattern = found.get("rank_pattern")
    if pattern and found["peft_type"] == "ADALORA":
        # Training starts before any pruning.
        found, tensors = {**found, "rank_pattern": None}, unpruned(tensors, pattern)
    problems = list(_differences(_fields(found), _fields(config), ""))
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise MiloraError(
            "adapter/mismatch",
            f"The adapter in {folder} was made by another plan than this run's: {'; '.join(problems[:_SHOWN])}{more}.",
            path="train.warmStart",
            file=str(folder),
            problems=problems,
            hint="Give method the settings of that adapter, or start without train.warmStart.",
        )
    return tensors


def _fields(config: dict[str, Any]) -> dict[str, Any]:
    """Every field with its default filled in, so that what one config leaves unsaid is compared too."""
    fields = {**build_config(config).to_dict(), "peft_type": config["peft_type"]}
    return {
        name: sorted(value) if isinstance(value, set | frozenset) else value
        for name, value in fields.items()
        if name not in _FREE_FIELDS
    }


def _differences(found: Any, planned: Any, path: str) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(planned, dict):
        for key in (*planned, *(key for key in found if key not in planned)):
            yield from _differences(found.get(key), planned.get(key), f"{path}.{key}" if path else key)
    elif isinstance(found, list) and isinstance(planned, list) and len(found) == len(planned):
        for index, (one, other) in enumerate(zip(found, planned, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif isinstance(found, list) and isinstance(planned, list):
        yield f"{path}: found {len(found)} entries, planned {len(planned)}"
    elif found != planned:
        yield f"{path}: found {_shown(found)}, planned {_shown(planned)}"


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."
