"""The poolers: a prompt's hidden states to one vector (the paper, section 3.3 and appendix C).

In all of them only the prompt's tokens count, whatever finite values stand at the others; a row without any prompt
token pools to zero, so that a batch with such a row stays finite. ``scale_BT`` is a factor of each token's state.

Shapes: B prompts, T tokens, D hidden size.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

PoolerName = Literal["self-attention", "average", "max", "last-token"]
"""How a prompt's states become one vector; only self-attention has a parameter, W_sa."""

NORMALIZE_EPSILON = 1e-6


def router_precision(tensor: Tensor) -> Tensor:
    """Brings a tensor to the router's arithmetic: float32, or float64 where it already is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def normalizing_scale(hidden_BTD: Tensor) -> Tensor:
    """1 / rms of each token's state, [B, T]: times it, a state is RMS-normalised, with no parameters.

    Decoders carry activations of hundreds to tens of thousands at a few tokens and dimensions; raw states would make
    the pooled vector nearly the same for every prompt and saturate the router's softmax.
    """
    return torch.rsqrt(hidden_BTD.square().mean(dim=-1) + NORMALIZE_EPSILON)


def pool(
    name: PoolerName, hidden_BTD: Tensor, prompt_mask_BT: Tensor, weight_D: Tensor | None, scale_BT: Tensor | None
) -> Tensor:
    """Pools by the named pooler, [B, D]; ``weight_D`` is W_sa, for self-attention alone."""
    if name == "self-attention":
        assert weight_D is not None
        return attention_pool(hidden_BTD, prompt_mask_BT, weight_D, scale_BT)
    if name == "average":
        return average_pool(hidden_BTD, prompt_mask_BT, scale_BT)
    if name == "max":
        return max_pool(hidden_BTD, prompt_mask_BT, scale_BT)
    return last_token_pool(hidden_BTD, prompt_mask_BT, scale_BT)


def attention_pool(
    hidden_BTD: Tensor, prompt_mask_BT: Tensor, weight_D: Tensor, scale_BT: Tensor | None = None
) -> Tensor:
    """Pools a prompt's states by self-attention: u = H W_sa, a = softmax(u over the prompt's tokens), h = aᵀ H.

    Args:
        hidden_BTD: States in the router's precision.
        prompt_mask_BT: True at the prompt's tokens; padding and answer tokens are False and never count.
        weight_D: W_sa.
        scale_BT: A factor of each token's state, applied without a second copy of the states.

    Returns:
        The pooled states, [B, D].
    """
    scores_BT = hidden_BTD @ weight_D
    if scale_BT is not None:
        scores_BT = scores_BT * scale_BT
    return _weighted_sum(hidden_BTD, attention_weights(scores_BT, prompt_mask_BT), scale_BT)


def attention_weights(scores_BT: Tensor, prompt_mask_BT: Tensor) -> Tensor:
    """The softmax over each prompt's tokens, [B, T], 0 at all others."""
    # The lowest finite value, not -inf: a row with no prompt token must not become NaN.
    scores_BT = scores_BT.masked_fill(~prompt_mask_BT, torch.finfo(scores_BT.dtype).min)
    return torch.softmax(scores_BT, dim=-1) * prompt_mask_BT


def average_pool(hidden_BTD: Tensor, prompt_mask_BT: Tensor, scale_BT: Tensor | None = None) -> Tensor:
    """The mean of the prompt's states, [B, D]."""
    share_BT = prompt_mask_BT.to(hidden_BTD.dtype)
    share_BT = share_BT / share_BT.sum(dim=-1, keepdim=True).clamp(min=1)
    return _weighted_sum(hidden_BTD, share_BT, scale_BT)


def max_pool(hidden_BTD: Tensor, prompt_mask_BT: Tensor, scale_BT: Tensor | None = None) -> Tensor:
    """The largest value of each dimension over the prompt's states, [B, D]; equal ones share the gradient."""
    scaled_BTD = hidden_BTD if scale_BT is None else hidden_BTD * scale_BT.unsqueeze(-1)
    lowest = torch.finfo(scaled_BTD.dtype).min
    largest_BD = scaled_BTD.masked_fill(~prompt_mask_BT.unsqueeze(-1), lowest).amax(dim=1)
    return largest_BD.masked_fill(~prompt_mask_BT.any(dim=1, keepdim=True), 0)


def last_token_pool(hidden_BTD: Tensor, prompt_mask_BT: Tensor, scale_BT: Tensor | None = None) -> Tensor:
    """The state of each row's last prompt token, wherever padding and answer stand, [B, D]."""
    positions_T = torch.arange(prompt_mask_BT.shape[1], device=prompt_mask_BT.device)
    last_B = torch.where(prompt_mask_BT, positions_T, -1).amax(dim=1)
    index_B1 = last_B.clamp(min=0).unsqueeze(-1)
    pooled_BD = hidden_BTD.gather(1, index_B1.unsqueeze(-1).expand(-1, -1, hidden_BTD.shape[-1])).squeeze(1)
    if scale_BT is not None:
        pooled_BD = pooled_BD * scale_BT.gather(1, index_B1)
    return pooled_BD.masked_fill((last_B < 0).unsqueeze(-1), 0)


def _weighted_sum(hidden_BTD: Tensor, weight_BT: Tensor, scale_BT: Tensor | None) -> Tensor:
    if scale_BT is not None:
        weight_BT = weight_BT * scale_BT
    return (weight_BT.unsqueeze(1) @ hidden_BTD).squeeze(1)
