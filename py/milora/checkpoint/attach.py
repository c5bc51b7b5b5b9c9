"""Puts an adapter into a model, new or loaded, and accepts nothing that does not fit exactly."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import torch
from peft import AdaLoraConfig, PeftModel, get_peft_model
from peft.config import PeftConfig
from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import PeftType, set_peft_model_state_dict
from torch import Tensor
from transformers import PreTrainedModel

from milora.checkpoint.adapter import adapter_tensors
from milora.errors import MiloraError
from milora.models import whole_base
from milora.tuners.adalora import no_false_alarms
from milora.tuners.base import PlannedConfig, check_plan
from milora.tuners.build import build_config
from milora.tuners.milora import MiloraConfig, freeze_experts
from milora.tuners.names import check_adapter_name

_SHOWN_KEYS = 3

Trains = Literal["all", "router"]
"""What of a new adapter trains."""


def attach_adapter(
    model: PreTrainedModel | PeftModel,
    config: dict[str, Any],
    name: str,
    tensors: dict[str, Tensor] | None = None,
    seed: int = 0,
    *,
    trainable: bool | None = None,
    trains: Trains = "all",
) -> PeftModel:
    """Attaches an adapter and makes it the active one.

    Args:
        model: A causal language model, or one that already carries adapters of the same method.
        config: The fields of ``adapter_config.json``.
        name: The adapter's name in this model.
        tensors: Its weights, from which it starts; without them it is new.
        trainable: Whether it trains; by default only without ``tensors``. False: frozen, for inference.
        trains: ``router``: its experts stay as they are, and only the routers train.
        seed: Decides a new adapter's weights, the same on every device; the global generators are left alone.

    Returns:
        The model with the adapter; where ``model`` already was a PeftModel, the same object.

    Raises:
        MiloraError: ``adapter/bad-name``, ``adapter/mismatch``, ``adapter/unreadable``, ``adapter/unsupported``. The
            model is then as it was.
    """
    peft_config = build_config(config)
    trainable = tensors is None if trainable is None else trainable
    _check_trains(peft_config, name, trainable, trains)
    _check_whole_weights(model, peft_config)
    peft_config.inference_mode = not trainable
    base_name = peft_config.base_model_name_or_path
    existing = list(model.peft_config) if isinstance(model, PeftModel) else []
    check_adapter_name(model, name, PEFT_TYPE_TO_PREFIX_MAPPING[PeftType(peft_config.peft_type)], existing)
    if isinstance(model, PeftModel):
        _check_same_method(model, peft_config)
    if isinstance(peft_config, PlannedConfig):
        # The tuner checks too, but PEFT has by then put this model's own name into the config.
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        check_plan(base, name, peft_config, made_for=base_name)
    # PEFT would warn that it puts the model's own name there.
    peft_config.base_model_name_or_path = None
    # PEFT draws numbers when it loads a pruned AdaLoRA adapter too.
    whole = whole_base(model) if _reads_base(peft_config) else contextlib.nullcontext()
    with torch.random.fork_rng(devices=[]), no_false_alarms(peft_config), whole:
        # Not torch.manual_seed: that would also reseed the accelerators.
        torch.default_generator.manual_seed(seed)
        peft_model = _inject(model, peft_config, name)
        if base_name:
            peft_model.peft_config[name].base_model_name_or_path = base_name
        if tensors is not None:
            try:
                _load_strictly(peft_model, name, tensors)
            except BaseException:
                _detach(peft_model, name, existing)
                raise
            peft_model.eval()
    if trains == "router":
        freeze_experts(peft_model, name)
    if existing:
        peft_model.set_adapter(name, inference_mode=not trainable)
    return peft_model


def _check_trains(config: PeftConfig, name: str, trainable: bool, trains: Trains) -> None:
    if trains == "all":
        return
    if trains != "router":
        raise MiloraError("adapter/unsupported", f"trains is {trains!r}; allowed: all, router.", allowed="all, router")
    if not trainable:
        raise MiloraError("adapter/unsupported", f"Adapter {name!r} is frozen; its routers cannot be trained.")
    if not isinstance(config, MiloraConfig) or config.policy == "fixed":
        raise MiloraError(
            "adapter/unsupported",
            f"Adapter {name!r} has no routers that could be trained alone: its type is {config.peft_type}"
            + (", its policy fixed." if isinstance(config, MiloraConfig) else ".")
            + " Train all of it, or use a MiLoRA adapter with a learned policy.",
        )


def _check_whole_weights(model: PreTrainedModel | PeftModel, config: PeftConfig) -> None:
    """A DoRA module reads the norm of its base weights, which a quantised model does not hold."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    midora = _is_midora(config)
    # PEFT's own gets back the weights of 4 bits, but not those of 8 before their first use.
    dora = getattr(config, "use_dora", False) and getattr(base, "is_loaded_in_8bit", False)
    if getattr(base, "is_quantized", False) and (midora or dora):
        raise MiloraError(
            "adapter/unsupported",
            f"{'MiDoRA' if midora else 'DoRA in 8 bits'} needs the base weights whole; they are quantised in this "
            "model.",
            path="train.quantization",
            hint="Use LoRA modules, or set train.quantization to none.",
        )


def _is_midora(config: PeftConfig) -> bool:
    return isinstance(config, MiloraConfig) and config.expert == "dora"


def _reads_base(config: PeftConfig) -> bool:
    """Whether a new module reads its base weights before the first pass."""
    return _is_midora(config) or bool(getattr(config, "use_dora", False))


def _inject(model: PreTrainedModel | PeftModel, config: PeftConfig, name: str) -> PeftModel:
    if isinstance(model, PeftModel):
        model.add_adapter(name, config)
        return model
    wrapped = get_peft_model(model, config, adapter_name=name)
    assert isinstance(wrapped, PeftModel)
    return wrapped


def _check_same_method(model: PeftModel, config: PeftConfig) -> None:
    found = {adapter: existing.peft_type for adapter, existing in model.peft_config.items()}
    for adapter, peft_type in found.items():
        if peft_type != config.peft_type:
            raise MiloraError(
                "adapter/unsupported",
                f"The model carries adapter {adapter!r} of type {peft_type}; adapters of type {config.peft_type} "
                "cannot be added to it. Take the other adapters off first.",
            )
    if isinstance(config, AdaLoraConfig) and not config.inference_mode:
        raise MiloraError(
            "adapter/unsupported",
            f"The model carries {', '.join(map(repr, found))}; PEFT trains an AdaLoRA adapter only in a model without "
            "others. Take the other adapters off first.",
        )


def _load_strictly(model: PeftModel, name: str, tensors: dict[str, Tensor]) -> None:
    """Loads weights; PEFT's own loading reports neither unexpected nor all missing keys."""
    expected = adapter_tensors(model, name)
    missing = sorted(set(expected) - set(tensors))
    unexpected = sorted(set(tensors) - set(expected))
    problems = [f"Missing: {key} {list(expected[key].shape)}." for key in missing]
    problems += [f"Unexpected: {key} {list(tensors[key].shape)}." for key in unexpected]
    problems += [
        f"{key}: found shape {list(tensors[key].shape)}, expected {list(expected[key].shape)}."
        for key in sorted(set(expected) & set(tensors))
        if tensors[key].shape != expected[key].shape
    ]
    if problems:
        shown = " ".join(problems[:_SHOWN_KEYS])
        more = f" And {len(problems) - _SHOWN_KEYS} more." if len(problems) > _SHOWN_KEYS else ""
        raise MiloraError(
            "adapter/mismatch",
            f"The weights of adapter {name!r} do not fit its config and this model. {shown}{more}",
            problems=problems,
        )
    set_peft_model_state_dict(model, dict(tensors), adapter_name=name)


def _detach(model: PeftModel, name: str, existing: list[str]) -> None:
    if existing:
        model.delete_adapter(name)
    else:
        tuner = model.base_model
        assert isinstance(tuner, BaseTuner)
        tuner.unload()
