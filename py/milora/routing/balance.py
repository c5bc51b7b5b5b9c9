"""The load-balancing loss of a layer, the paper's section 3.5.

Shapes: B prompts, E experts.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def first_choices(probabilities_BE: Tensor) -> Tensor:
    """How many prompts have each expert as their most probable one: int64 counts, [E].

    A row of zeros stands for nothing (padding, where tokens are routed) and is not counted.
    """
    chosen_BE = functional.one_hot(probabilities_BE.argmax(dim=-1), probabilities_BE.shape[-1])
    return (chosen_BE * (probabilities_BE > 0).any(dim=-1, keepdim=True)).sum(dim=0)


def balance_loss(probabilities_BE: Tensor, first_choice_share_E: Tensor, num_prompts: int) -> Tensor:
    """L_lb = N_mod Σ_i f_i p̂_i: 1 when even, N_mod when one expert takes everything.

    Args:
        probabilities_BE: The router's softmax for the prompts of this (micro-)batch.
        first_choice_share_E: f, the share of the step's prompts whose first choice is expert i; it has no gradient.
        num_prompts: Prompts of the whole step. With the step's f, micro-batch losses add up to the whole batch's.
    """
    mean_probability_E = probabilities_BE.sum(dim=0) / num_prompts
    return probabilities_BE.shape[-1] * (first_choice_share_E.to(mean_probability_E) * mean_probability_E).sum()
