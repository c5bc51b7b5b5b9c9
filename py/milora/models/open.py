"""Opening a model: weights and tokenizer, frozen, on its device."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from milora.errors import MiloraError
from milora.models.attention import choose_attention
from milora.models.checks import check_weights
from milora.models.config import is_text_part, load_config, not_on_hub
from milora.models.describe import context_length
from milora.models.gguf import converted
from milora.models.placement import Placement
from milora.models.source import ModelSource

OnStep = Callable[[int, int], None]

# A multimodal checkpoint keeps its text model under one of these prefixes; its own class has none of them.
_text_part_keys = {
    r"^language_model\.model\.": "model.",
    r"^model\.language_model\.": "model.",
    r"^language_model\.lm_head\.": "lm_head.",
}


@dataclass(frozen=True)
class OpenedModel:
    """A frozen model in evaluation mode with its tokenizer."""

    source: ModelSource
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    placement: Placement
    context_length: int | None
    num_parameters: int


def open_model(
    source: ModelSource, placement: Placement, seed: int, on_step: OnStep, *, to_shard: bool = False
) -> OpenedModel:
    """Loads weights (safetensors only) and tokenizer; no parameter requires a gradient afterwards.

    Args:
        source: The model.
        placement: Where it goes.
        seed: Of all generators.
        on_step: Told how far the conversion of a GGUF file is.
        to_shard: Leaves the weights on the CPU, for :func:`milora.models.shard_base`.

    Raises:
        MiloraError: ``model/not-found``, ``model/unreadable`` or ``model/unsupported``.
    """
    seed_everything(seed)
    if source.kind == "gguf":
        folder = converted(Path(source.location), on_step)
        located = ModelSource(source.name, "folder", str(folder))
    else:
        located = source
    config = load_config(located)
    attention = choose_attention(placement.attention, config, placement.device, placement.dtype)
    placement = replace(placement, attention=attention)
    if located.kind == "folder":
        check_weights(Path(located.location))
    model = _load_weights(located, config, placement, stays=to_shard)
    tokenizer = _load_tokenizer(located)
    model.requires_grad_(False)
    model.eval()
    model.generation_config = _plain_generation_config(model, tokenizer)
    return OpenedModel(
        source=source,
        model=model,
        tokenizer=tokenizer,
        placement=placement,
        context_length=context_length(config),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def seed_everything(seed: int) -> None:
    """Seeds Python's, NumPy's and torch's generators (CUDA's with it)."""
    random.seed(seed)
    numpy.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)


def _load_weights(
    source: ModelSource, config: PretrainedConfig, placement: Placement, *, stays: bool = False
) -> PreTrainedModel:
    key_mapping = _text_part_keys if is_text_part(config) else None
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.location,
            config=config,
            dtype=placement.dtype,
            attn_implementation=placement.attention,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **({"key_mapping": key_mapping} if key_mapping else {}),
            **_quantized(placement),
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, ImportError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if source.kind == "hub" and "safetensors" not in text:
            raise not_on_hub(source, text) from error
        message = f"The weights of {source.name} cannot be read: {text}"
        raise MiloraError("model/unreadable", message, file=source.location) from error
    model, info = loaded
    missing = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        message = f"The weights of {source.name} do not fit its configuration: missing or of another shape: {shown}."
        raise MiloraError("model/unreadable", message, file=source.location, problems=missing)
    if placement.quantization == "none":
        return model if stays else model.to(placement.device)
    # Quantised weights are made on their device and are not to be moved.
    _keep_packing(model)
    return model


def _keep_packing(model: PreTrainedModel) -> None:
    """bitsandbytes repacks 4-bit weights in the first forward pass without gradients on some CPUs.

    Training goes on after an evaluation, and a backward pass through the new form is not there.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - no field of nn.Module


def _quantized(placement: Placement) -> dict[str, Any]:
    """What ``from_pretrained`` takes for a base in 4 bits (QLoRA's NF4) or 8; it computes in the placement's dtype."""
    if placement.quantization == "none":
        return {}
    if placement.quantization == "nf4":
        config = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=placement.dtype
        )
    else:
        config = BitsAndBytesConfig(load_in_8bit=True)
    return {"quantization_config": config, "device_map": {"": str(placement.device)}}


def _load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(source.location, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare exceptions
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"The tokenizer of {source.name} cannot be read: {text}"
        raise MiloraError("model/unreadable", message, file=source.location) from error


def _plain_generation_config(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    # A checkpoint's own sampling settings would leak into greedy and beam search (a repetition penalty, for instance).
    given = model.generation_config
    ends = given.eos_token_id if given is not None else None
    if ends is None:
        ends = tokenizer.eos_token_id
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )
