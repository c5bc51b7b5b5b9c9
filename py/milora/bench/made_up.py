"""Made-up prompts and adapters: what a step costs does not depend on what they say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from milora.bench.engines import twin
from milora.checkpoint import attach_adapter, read_adapter
from milora.checkpoint.adapter import adapter_tensors

_ADAPTER = "default"
_UPDATE_SCALE = 0.02
"""Of what a new adapter starts with at 0: large enough to change texts, too small to spoil them."""


@dataclass(frozen=True)
class Adapter:
    """An adapter as its folder holds it: the fields of its config, and its tensors by the keys of its file."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]


def made_up_prompts(count: int, tokens: int, vocabulary: int, seed: int = 0) -> list[tuple[int, ...]]:
    """Prompts of one length; the first ones are the same whatever ``count`` is."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocabulary, (count, tokens), generator=generator)
    return [tuple(row) for row in ids.tolist()]


def made_up_adapter(base: PreTrainedModel, config: dict[str, Any], seed: int = 0) -> Adapter:
    """A new adapter whose B is not 0, so that it changes what the base says."""
    model = attach_adapter(twin(base, str(base.config._attn_implementation)), config, _ADAPTER, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for key, tensor in adapter_tensors(model, _ADAPTER).items():
        value = tensor.detach().cpu().clone()
        if not value.any():
            value = (_UPDATE_SCALE * torch.randn(value.shape, generator=generator)).to(value.dtype)
        tensors[key] = value
    return Adapter(config, tensors)


def another_like(adapter: Adapter, seed: int) -> Adapter:
    """Another adapter of the same size: the signs of its matrices are drawn anew, which costs little."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(tensor: Tensor) -> Tensor:
        if tensor.dim() < 2:
            # Poolers, activations, magnitudes: with other signs they would be of another kind.
            return tensor
        signs = torch.randint(0, 2, tensor.shape, generator=generator, dtype=torch.int8)
        return tensor * (2 * signs - 1).to(tensor.dtype)

    return Adapter(adapter.config, {key: drawn(tensor) for key, tensor in adapter.tensors.items()})


def trained_adapter(folder: str) -> Adapter:
    """The adapter of a folder.

    Raises:
        MiloraError: as :func:`milora.checkpoint.read_adapter`.
    """
    return Adapter(*read_adapter(Path(folder)))
