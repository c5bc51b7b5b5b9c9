"""RMS norms as the families of decoders have them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class RmsNorm:
    """x / √(mean(x²) + ε) ⊙ weight over the last dimension.

    Args:
        weight: [features], or [heads, features] where heads have weights of their own.
        epsilon: ε.
        wide: Multiplied in float32 and rounded afterwards (Gemma); else the normalised states are rounded first.
    """

    def __init__(self, weight: Tensor, epsilon: float, wide: bool) -> None:
        features = weight.shape[-1]
        self.weight = weight
        self.epsilon = epsilon
        self.wide = wide
        # √(|x|² / D + ε) = hypot(|x|, √(D ε)) / √D, on a CPU half the time of torch's rms_norm for a single token.
        self._scaled_weight = weight.float() * math.sqrt(features)
        self._floor = torch.tensor(math.sqrt(features * epsilon), device=weight.device)

    def __call__(self, states: Tensor) -> Tensor:
        """The normalised states, in their dtype."""
        if states.dtype == torch.float32:
            length = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
            return (states / torch.hypot(length, self._floor)).mul_(self._scaled_weight)
        normalized = functional.rms_norm(states.float(), states.shape[-1:], None, self.epsilon)
        if self.wide:
            return (normalized * self.weight).to(states.dtype)
        return normalized.to(states.dtype) * self.weight


def read_norm(module: nn.Module, *, offset: bool) -> RmsNorm:
    """A transformers RMSNorm; ``offset``: it multiplies by 1 + its weight (Gemma)."""
    settings: Any = module
    epsilon = getattr(settings, "variance_epsilon", None) or settings.eps
    weight: Tensor = settings.weight.detach()
    return RmsNorm(1.0 + weight.float() if offset else weight, float(epsilon), offset)


def read_head_norm(query: nn.Module, key: nn.Module, heads: tuple[int, int], *, offset: bool) -> RmsNorm:
    """The norms of query heads and of key heads as one; ``heads``: how many of each."""
    norms = [read_norm(module, offset=offset) for module in (query, key)]
    weights = [norm.weight.expand(count, -1) for norm, count in zip(norms, heads, strict=True)]
    return RmsNorm(torch.cat(weights), norms[0].epsilon, offset)
