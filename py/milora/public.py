"""The functions of ``import milora`` for Python programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from milora.checkpoint import attach_adapter, read_adapter, save_adapter
from milora.errors import MiloraError
from milora.routing.context import routing_context
from milora.routing.prompt import IGNORED_LABEL
from milora.tuners.milora import MiloraConfig


def attach(
    model: PreTrainedModel | PeftModel, config: Mapping[str, Any] | MiloraConfig, name: str = "default", seed: int = 0
) -> PeftModel:
    """Attaches a new adapter, to be trained, and makes it the active one.

    Args:
        model: A causal language model, or one with adapters of the same method.
        config: The fields of ``adapter_config.json``, such as :func:`milora.plan` gives, or them as a MiloraConfig.
            It is copied.
        name: The adapter's name in this model; no component of a module's path.
        seed: Decides its weights, the same on every device. The update is zero until it trains.

    Returns:
        The model with the adapter; where ``model`` already was a PeftModel, the same object.

    Raises:
        MiloraError: ``adapter/bad-name``, ``adapter/mismatch``, ``adapter/unreadable``, ``adapter/unsupported``. The
            model is then as it was.
    """
    fields = config.to_dict() if isinstance(config, MiloraConfig) else config
    return attach_adapter(model, dict(fields), name, seed=seed)


def load(model: PreTrainedModel | PeftModel, folder: str | Path, name: str = "default") -> PeftModel:
    """Loads an adapter's folder into a model, for inference, and makes it the active one.

    Every tensor of the adapter must be there, with its shape, and no other: PEFT's own loading is silent about it.

    Args:
        model: The causal language model that the adapter was made for, or one with adapters of the same method.
        folder: What :func:`save` or PEFT's ``save_pretrained`` wrote.
        name: The adapter's name in this model; no component of a module's path.

    Returns:
        The model with the adapter; where ``model`` already was a PeftModel, the same object.

    Raises:
        MiloraError: ``adapter/not-found``, ``adapter/unreadable``, ``adapter/mismatch``, ``adapter/bad-name``.
    """
    config, tensors = read_adapter(folder)
    return attach_adapter(model, config, name, tensors)


def save(model: PeftModel, folder: str | Path, name: str = "default") -> None:
    """Saves an adapter's folder, whole or not at all: config, weights in safetensors and a model card.

    Raises:
        MiloraError: ``adapter/not-found`` for another name, ``run/disk`` where the folder cannot be written.
    """
    save_adapter(model, name, folder)


def route(model: PeftModel | PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
    """Which experts each prompt activates: booleans, [prompt, layer, expert], on the CPU.

    Layers and experts are in the order of the config's ``layers``. Each layer's router (arXiv 2410.18035) decides
    once a prompt, by the prompt's tokens only.

    Args:
        model: A model with an active MiLoRA adapter.
        batch: What a tokenizer gives (``input_ids``, ``attention_mask``), on any device; with ``labels`` the prompt
            is where they are -100.

    Raises:
        MiloraError: ``adapter/unsupported`` where the model has no routed adapter.
    """
    context = routing_context(model)
    if context is None:
        raise MiloraError("adapter/unsupported", "The model has no routed adapter.")
    device = next(model.parameters()).device
    input_ids = batch["input_ids"].to(device)
    attention_mask = batch.get("attention_mask")
    attention_mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask.to(device)
    prompt_mask = attention_mask != 0
    if (labels := batch.get("labels")) is not None:
        prompt_mask = prompt_mask & (labels.to(device) == IGNORED_LABEL)
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), context.prompt(prompt_mask), context.record() as record:
            model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, logits_to_keep=1)
    finally:
        model.train(training)
    return (record.gates > 0).cpu()
