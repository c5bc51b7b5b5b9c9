"""AdamW over one group of parameters, with nothing read from the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm


class GroupOptimizer:
    """AdamW for one group (Ω or Θ); the other group's gradients and moments are out of its reach.

    A parameter without a gradient in a step counts as one with gradient zero: its moments decay and momentum and
    weight decay still move it. So an expert that no prompt of a step chose is treated the same whether the forward
    pass left it out or multiplied it by a gate of zero, and for any micro-batch; it is also what plain AdamW does with
    a zero gradient, so all parameters share one step count.

    Args:
        parameters: Name to float32 parameter.
        betas, epsilon, weight_decay: AdamW's.
        max_gradient_norm: Gradients are scaled down to this norm; None = never.
        rate_factors: By name, what a parameter's learning rate is multiplied by; 1 where nothing is said.
        undecayed: Names of parameters without weight decay.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        betas: tuple[float, float],
        epsilon: float,
        weight_decay: float,
        max_gradient_norm: float | None,
        rate_factors: Mapping[str, float] | None = None,
        undecayed: Collection[str] = (),
    ) -> None:
        self.parameters = dict(parameters)
        self._max_gradient_norm = max_gradient_norm
        decays = {name: 0.0 if name in undecayed else weight_decay for name in self.parameters}
        # Fused: one pass over each tensor, elementwise (so bit for bit the same each time), and it knows how to skip.
        self.adamw = (
            torch.optim.AdamW(
                _alike(self.parameters, rate_factors or {}, decays), lr=0.0, betas=betas, eps=epsilon, fused=True
            )
            if self.parameters
            else None
        )

    @property
    def num_parameters(self) -> int:
        """Numbers in this group."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    def step(self, learning_rate: float, after_update: Callable[[], None] | None = None) -> Tensor:
        """Updates the group from its gradients, clears them, and gives their norm before clipping (on the device).

        ``after_update`` is called between the two: some methods look at gradients and new values together.

        A norm that is not finite leaves parameters, moments and step count as they were.
        """
        assert self.adamw is not None
        gradients = self._gradients()
        norm = get_total_norm(gradients)
        if self._max_gradient_norm is not None:
            scale = (self._max_gradient_norm / (norm + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(scale)
        # The fused kernel looks at this flag on the device and does nothing where it is 1.
        setattr(self.adamw, "found_inf", (~torch.isfinite(norm)).float())  # noqa: B010 - AdamW declares no such field
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate * group["rate_factor"]
        self.adamw.step()
        if after_update is not None:
            after_update()
        self.adamw.zero_grad(set_to_none=True)
        return norm

    def take_gradients(self) -> list[Tensor]:
        """The group's gradients, in its order, zeros where there are none; the parameters keep none."""
        gradients = self._gradients()
        for parameter in self.parameters.values():
            parameter.grad = None
        return gradients

    def put_gradients(self, gradients: Sequence[Tensor]) -> None:
        """Sets the gradients of the next step, in the group's order."""
        for parameter, gradient in zip(self.parameters.values(), gradients, strict=True):
            parameter.grad = gradient

    def _gradients(self) -> list[Tensor]:
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]


def _alike(
    parameters: Mapping[str, nn.Parameter], rate_factors: Mapping[str, float], decays: Mapping[str, float]
) -> list[dict[str, Any]]:
    """AdamW's groups: the parameters, in their order, that share rate and decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault((rate_factors.get(name, 1.0), decays[name]), []).append(parameter)
    return [
        {"params": members, "rate_factor": factor, "weight_decay": decay}
        for (factor, decay), members in groups.items()
    ]


@contextlib.contextmanager
def only_trains(trained: Sequence[GroupOptimizer], frozen: Sequence[GroupOptimizer] = ()) -> Iterator[None]:
    """Inside, backward makes gradients for ``trained`` alone; the frozen groups' weight gradients cost nothing."""
    for parameter in _parameters(frozen):
        parameter.requires_grad_(False)
    for parameter in _parameters(trained):
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in _parameters(frozen):
            parameter.requires_grad_(True)


def _parameters(groups: Sequence[GroupOptimizer]) -> Iterator[nn.Parameter]:
    return (parameter for group in groups for parameter in group.parameters.values())
