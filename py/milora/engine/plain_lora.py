"""PEFT LoRA adapters as files: read where they are nothing but A and B, and their rank and scale of a module."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft.utils.other import get_pattern_key
from torch import Tensor

from milora.checkpoint import read_adapter
from milora.errors import MiloraError

_CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
_CONVERT = (
    "Convert it to plain LoRA first: PEFT's save_pretrained(path_initial_model_for_weight_conversion=...) does it."
)
_PLAIN = "Only plain LoRA modules can become experts; train the LoRA adapter without it."

# Settings that change what a module computes without a tensor that would tell: field, when it is so, what to do.
_REFUSED: Sequence[tuple[str, Callable[[Any], bool], str]] = (
    ("use_dora", bool, "DoRA also rescales the base weight; train the LoRA adapter with use_dora=False."),
    ("init_lora_weights", lambda value: str(value).lower().startswith(_CHANGED_BASE), _CONVERT),
    *(
        (name, bool, _PLAIN)
        for name in (
            "use_qalora",
            "use_bdlora",
            "layer_replication",
            "alora_invocation_tokens",
            "arrow_config",
            "kasa_config",
            "monteclora_config",
        )
    ),
)


@dataclass(frozen=True)
class ModuleScale:
    """A module's rank, its alpha, and the factor of B A x."""

    rank: int
    alpha: float
    scale: float


def read_plain_lora(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A LoRA adapter's config and tensors (on the CPU).

    Raises:
        MiloraError: ``adapter/not-found``, ``adapter/unreadable``, or ``adapter/unsupported`` for another method and
            for settings that plain LoRA modules cannot stand for.
    """
    try:
        config, tensors = read_adapter(folder)
    except (TypeError, ValueError) as error:
        message = f"The config of the adapter in {folder} is not valid: {error}"
        raise MiloraError("adapter/unreadable", message, file=str(folder / "adapter_config.json")) from error
    check_plain(config, f"The adapter in {folder}", folder)
    return config, tensors


def check_plain(config: Mapping[str, Any], what: str, folder: Path) -> None:
    """Raises ``adapter/unsupported`` where a config says more than plain LoRA modules."""
    file = str(folder / "adapter_config.json")
    if (kind := config.get("peft_type")) != "LORA":
        message = f"{what} has the peft_type {kind}; allowed: LORA."
        raise MiloraError("adapter/unsupported", message, file=file, path="peft_type", found=str(kind), allowed="LORA")
    for name, hint in beyond_plain(config):
        kind = "DoRA, not plain LoRA" if name == "use_dora" else "no plain LoRA"
        message = f"{what} is {kind}: {name} is {config[name]!r}."
        raise MiloraError("adapter/unsupported", message, file=file, path=name, found=name, hint=hint)


def beyond_plain(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings by which a LoRA module computes more than B A x, each with what to do about it."""
    return ((name, hint) for name, refused, hint in _REFUSED if refused(config.get(name)))


def module_scale(config: Mapping[str, Any], path: str) -> ModuleScale:
    """Rank and scale of the module at a full path, by PEFT's own rule for patterns."""
    ranks: Mapping[str, int] = config.get("rank_pattern") or {}
    alphas: Mapping[str, float] = config.get("alpha_pattern") or {}
    rank = int(ranks.get(get_pattern_key(list(ranks), path), config.get("r") or 8))
    alpha = float(alphas.get(get_pattern_key(list(alphas), path), config.get("lora_alpha") or 8))
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    return ModuleScale(rank, alpha, scale)


def scale_problem(config: Mapping[str, Any], path: str, rank: int, alpha: float) -> str | None:
    """How a LoRA config disagrees with an expert's rank and alpha; None where it does not."""
    lora = module_scale(config, path)
    if lora.rank != rank:
        return f"{path}: the LoRA config says rank {lora.rank}, the MiLoRA config {rank}."
    # The two may come to one scale by different roundings of alpha.
    if not math.isclose(lora.scale, alpha / rank, rel_tol=1e-9):
        rule = "alpha / √rank" if config.get("use_rslora") else "alpha / rank"
        return (
            f"{path}: the LoRA config says scale {lora.scale:g} ({rule}, alpha {lora.alpha:g}, rank {rank}), "
            f"the MiLoRA config {alpha / rank:g} (alpha {alpha:g})."
        )
    return None
