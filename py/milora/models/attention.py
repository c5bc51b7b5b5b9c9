"""Which of transformers' attention implementations a model runs with."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from milora.models.precision import ROUNDED


def choose_attention(asked: str, config: PretrainedConfig, device: torch.device, dtype: torch.dtype) -> str:
    """What was asked for; for ``auto`` the faster one in training of those that the model has.

    On a CPU in bf16 the backward pass of the fused attention alone took a third of a training step (135 M model); in
    float32 it is the faster one.

    Args:
        asked: ``auto``, ``eager`` or ``sdpa``.
        config: Of a causal language model.
        device: Where the model runs.
        dtype: What it is held in.
    """
    if asked != "auto":
        return asked
    slow = device.type == "cpu" and dtype in ROUNDED
    return "eager" if slow or not has_sdpa(MODEL_FOR_CAUSAL_LM_MAPPING[type(config)], config) else "sdpa"


def has_sdpa(model_class: Any, config: PretrainedConfig) -> bool:
    """Whether sdpa gives what eager attention does: a model of this class has it, and caps no scores."""
    return getattr(model_class, "_supports_sdpa", False) and getattr(config, "attn_logit_softcapping", None) is None
