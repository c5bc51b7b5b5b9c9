"""From a pooled prompt to gates: R(h) = Top-k(Softmax(g(h) W_r)), the paper's section 3.2.

Shapes: B prompts, D hidden size, E experts, K kept experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Gate = Literal["scaled", "probability", "none"]


@dataclass(frozen=True)
class GateLimits:
    """What a caller allows a router beyond its own rule.

    ``top_k``: int64, [B], at most the router's k. ``allowed``: booleans, [B, E]; masked experts leave the ranking, and
    the softmax stays as it is.
    """

    top_k: Tensor | None = None
    allowed: Tensor | None = None


def expert_probabilities(activated_BD: Tensor, projection_ED: Tensor) -> Tensor:
    """The softmax over the experts of a layer, [B, E]."""
    return torch.softmax(activated_BD @ projection_ED.T, dim=-1)


def top_k_gates(probabilities_BE: Tensor, top_k: int, gate: Gate, limits: GateLimits | None = None) -> Tensor:
    """The gates of the k most probable experts; exactly 0 for all others.

    ``scaled``: k p_i / Σ p_j over the kept ones, so that the gates average 1. ``probability``: p_i. ``none``: 1, with
    a straight-through gradient: backward it is taken as k p_i, the scaled softmax, for every expert of the layer, kept
    or not (∂gate_i / ∂p_i = k). Renormalised over the kept ones that gradient would vanish at k = 1. With the other
    two the router's gradient comes through the kept gates alone; the choice itself has none.

    With limits, k is the number of experts that are really kept: a row whose experts are all masked has no gate.

    Returns:
        Gates, [B, E].
    """
    kept_BK, indices_BK, keeps_BK = _ranked(probabilities_BE, top_k, limits)
    num_kept = top_k if keeps_BK is None else keeps_BK.sum(dim=-1, keepdim=True)
    if gate == "none":
        ones_BK = torch.ones_like(kept_BK) if keeps_BK is None else keeps_BK.to(kept_BK.dtype)
        hard_BE = torch.zeros_like(probabilities_BE).scatter(-1, indices_BK, ones_BK)
        soft_BE = probabilities_BE * num_kept
        # The difference is exactly 0, its gradient is not.
        return hard_BE + (soft_BE - soft_BE.detach())
    if gate == "scaled":
        total_B1 = kept_BK.sum(dim=-1, keepdim=True)
        if keeps_BK is not None:
            total_B1 = total_B1.clamp(min=torch.finfo(total_B1.dtype).tiny)
        kept_BK = kept_BK / total_B1 * num_kept
    return torch.zeros_like(probabilities_BE).scatter(-1, indices_BK, kept_BK)


def _ranked(probabilities_BE: Tensor, top_k: int, limits: GateLimits | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The k largest probabilities, 0 where they are not kept; their experts; which are kept (None: all), [B, K]."""
    if limits is None:
        most_BK, indices_BK = probabilities_BE.topk(top_k, dim=-1)
        return most_BK, indices_BK, None
    ranking_BE = probabilities_BE
    if limits.allowed is not None:
        ranking_BE = ranking_BE.masked_fill(~limits.allowed, -1)
    kept_BK, indices_BK = ranking_BE.topk(top_k, dim=-1)
    keeps_BK = kept_BK >= 0
    if limits.top_k is not None:
        places_K = torch.arange(top_k, device=probabilities_BE.device)
        keeps_BK = keeps_BK & (places_K < limits.top_k.unsqueeze(-1))
    return kept_BK.masked_fill(~keeps_BK, 0), indices_BK, keeps_BK
