"""The self-attention pooler: a prompt's hidden states to one vector (the paper, section 3.3 and appendix C).

Shapes: B prompts, T tokens, D hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor

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


def attention_pool(
    hidden_BTD: Tensor, prompt_mask_BT: Tensor, weight_D: Tensor, scale_BT: Tensor | None = None
) -> Tensor:
    """Pools a prompt's states by self-attention: u = H W_sa, a = softmax(u over the prompt's tokens), h = aᵀ H.

    A row without any prompt token pools to zero, so that a batch with such a row stays finite.

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
    # The lowest finite value, not -inf: a row with no prompt token must not become NaN.
    scores_BT = scores_BT.masked_fill(~prompt_mask_BT, torch.finfo(scores_BT.dtype).min)
    attention_BT = torch.softmax(scores_BT, dim=-1) * prompt_mask_BT
    if scale_BT is not None:
        attention_BT = attention_BT * scale_BT
    return (attention_BT.unsqueeze(1) @ hidden_BTD).squeeze(1)
