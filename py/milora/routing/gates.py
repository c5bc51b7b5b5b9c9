"""From a pooled prompt to gates: R(h) = Top-k(Softmax(g(h) W_r)), the paper's section 3.2.

Shapes: B prompts, D hidden size, E experts.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Gate = Literal["scaled", "probability"]


def expert_probabilities(activated_BD: Tensor, projection_ED: Tensor) -> Tensor:
    """The softmax over the experts of a layer, [B, E]."""
    return torch.softmax(activated_BD @ projection_ED.T, dim=-1)


def top_k_gates(probabilities_BE: Tensor, top_k: int, gate: Gate) -> Tensor:
    """The gates of the k most probable experts; exactly 0 for all others.

    ``scaled``: the kept probabilities divided by their sum, times k, so that they average 1. ``probability``: the
    softmax probability itself. The router's gradient comes through the gates; the choice itself has none.

    Returns:
        Gates, [B, E].
    """
    kept_BK, indices_BK = probabilities_BE.topk(top_k, dim=-1)
    if gate == "scaled":
        kept_BK = kept_BK / kept_BK.sum(dim=-1, keepdim=True) * top_k
    return torch.zeros_like(probabilities_BE).scatter(-1, indices_BK, kept_BK)
