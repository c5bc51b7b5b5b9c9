"""The arithmetic of a search within a budget (S3Delta, Hu et al. 2022): threshold, probabilities, gates, choice.

Everything is float64. Structural parameters α and sizes n have one entry a candidate, in any shape, the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from milora.errors import MiloraError

_BISECTIONS = 80
"""Halvings of ζ's interval; a float64 has 53 bits, and an interval around zero needs some more."""

_MOST_SHARE = 1 - 1e-9
"""A budget of all candidates together has p = 1, whose logit is infinite; this much of it is as good."""

GATE_TEMPERATURE = 2 / 3
"""Temperature of the binary concrete distribution (Louizos et al. 2018, as the next two)."""
STRETCH_LOW = -0.1
"""γ of the hard concrete distribution: what is drawn below 0 becomes 0."""
STRETCH_HIGH = 1.1
"""ζ of the hard concrete distribution, which is not the threshold: what is drawn above 1 becomes 1."""


def check_budget(sizes: Sequence[int], budget: int) -> None:
    """Raises where no choice of candidates has the budget's size.

    Raises:
        MiloraError: ``input/invalid-spec`` for a budget below the smallest candidate or above all together.
    """
    smallest, total = min(sizes), sum(sizes)
    if smallest <= budget <= total:
        return
    raise MiloraError(
        "input/invalid-spec",
        f"budget: found {budget} parameters, but the smallest candidate has {smallest} and all {len(sizes)} together "
        f"have {total}. Choose a budget between them.",
        path="budget",
        found=str(budget),
        allowed=f"{smallest} to {total}",
    )


def threshold(structure: Tensor, sizes: Tensor, budget: int, temperature: float) -> Tensor:
    """ζ with Σ n σ((α − ζ) / β) = budget, a scalar.

    Found by bisection. Its gradient is the equation's own: dζ/dα_j = p_j (1 − p_j) n_j / Σ p (1 − p) n, so that a
    step on α keeps the expected size to first order.

    Args:
        structure: α, float64.
        sizes: n, the parameters of each candidate.
        budget: At most the sum of ``sizes``.
        temperature: β.
    """
    with torch.no_grad():
        share = torch.tensor(min(budget / float(sizes.sum()), _MOST_SHARE), dtype=torch.float64)
        # With ζ at an end every p is at least, or at most, the budget's share of all.
        shift = temperature * torch.logit(share)
        low, high = structure.min() - shift, structure.max() - shift
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            too_large = (torch.sigmoid((structure - middle) / temperature) * sizes).sum() > budget
            low, high = torch.where(too_large, middle, low), torch.where(too_large, high, middle)
        found = (low + high) / 2
        kept = torch.sigmoid((structure - found) / temperature)
        slopes = kept * torch.sigmoid((found - structure) / temperature) * sizes
        weights = slopes / slopes.sum()
    # The sum is zero; it carries the gradient.
    return found + (weights * (structure - structure.detach())).sum()


def keep_logits(structure: Tensor, sizes: Tensor, budget: int, temperature: float) -> Tensor:
    """(α − ζ) / β: the logit of each candidate's probability p, in the shape of ``structure``."""
    return (structure - threshold(structure, sizes, budget, temperature)) / temperature


def draw_gates(logits: Tensor) -> Tensor:
    """One gate a candidate from the hard concrete distribution, 0 to 1: the binary concrete, stretched and clipped.

    Uses torch's generator of the CPU. Without clipping a gate is above 1/2 with probability p.
    """
    uniform = torch.rand(logits.shape, dtype=logits.dtype)
    concrete = torch.sigmoid((torch.logit(uniform) + logits) / GATE_TEMPERATURE)
    return (STRETCH_LOW + (STRETCH_HIGH - STRETCH_LOW) * concrete).clamp(0, 1)


def kept_candidates(structure: Sequence[float], sizes: Sequence[int], budget: int) -> list[bool]:
    """Which candidates stay: the largest p (so the largest α) first, each that still fits; equals in their order."""
    kept = [False] * len(sizes)
    left = budget
    # Python's sort keeps the order of equals.
    for index in sorted(range(len(sizes)), key=lambda candidate: -structure[candidate]):
        if sizes[index] <= left:
            kept[index] = True
            left -= sizes[index]
    return kept
