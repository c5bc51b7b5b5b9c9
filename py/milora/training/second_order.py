"""The gradient of Θ through one virtual step of Ω (DARTS, Liu et al. 2019, section 2.3).

It works on lists of parameters and on closures; it knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

Gradients = list[Tensor]
"""Gradients of one group of parameters, in the group's order."""


@dataclass(frozen=True)
class BilevelGradients:
    """Gradients at the parameters' present values.

    ``train_weights``: ∇ω L_train; ``train_activation``: ∇θ L_train; ``validation``: ∇ω L_val and ∇θ L_val.
    """

    train_weights: Callable[[], Gradients]
    train_activation: Callable[[], Gradients]
    validation: Callable[[], tuple[Gradients, Gradients]]


_EPSILON_SCALE = 0.01
"""ε = 0.01 / ‖∇ω' L_val‖, DARTS' own choice."""


def second_order_gradient(weights: Sequence[Tensor], virtual_rate: float, gradients: BilevelGradients) -> Gradients:
    """∇θ L_val(ω', θ) − ξ (∇θ L_train(ω⁺, θ) − ∇θ L_train(ω⁻, θ)) / 2ε.

    With ω' = ω − ξ ∇ω L_train(ω, θ) and ω± = ω ± ε ∇ω' L_val(ω', θ): a central difference in place of the
    Hessian-vector product, with an error of the order ε². Afterwards ω is what it was, bit for bit, also when
    a closure raises.

    Args:
        weights: ω, the parameters of the virtual step.
        virtual_rate: ξ, the learning rate of the virtual step.
        gradients: Computes gradients where the parameters stand.
    """
    with _restored(weights) as saved:
        _move(weights, saved, gradients.train_weights(), -virtual_rate)
        direction, validation = gradients.validation()
        norm = get_total_norm(direction)
        # Without a gradient both sides are the same point, and the correction is 0 whatever ε is.
        epsilon = _EPSILON_SCALE / norm.clamp(min=torch.finfo(norm.dtype).tiny ** 0.5)
        _move(weights, saved, direction, epsilon)
        above = gradients.train_activation()
        _move(weights, saved, direction, -epsilon)
        below = gradients.train_activation()
    factor = virtual_rate / (2 * epsilon)
    return [own - factor * (plus - minus) for own, plus, minus in zip(validation, above, below, strict=True)]


@contextmanager
def _restored(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    saved = [parameter.detach().clone() for parameter in parameters]
    try:
        yield saved
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, saved, strict=True):
                parameter.copy_(value)


def _move(parameters: Sequence[Tensor], start: list[Tensor], direction: list[Tensor], by: float | Tensor) -> None:
    with torch.no_grad():
        for parameter, value, gradient in zip(parameters, start, direction, strict=True):
            parameter.copy_(value + by * gradient)
