"""Loss scaling for a base model in float16, whose small gradients would be zero without it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_START = 2.0**10
_GROWTH = 2.0
_BACKOFF = 0.5
_GROWTH_INTERVAL = 2000


class LossScale:
    """The factor of the loss: halved by a gradient that is not finite, doubled after 2000 steps without one.

    It stays on the device; nothing is read from it.
    """

    def __init__(self, device: torch.device) -> None:
        self.value = torch.full((), _START, device=device)
        self._good_steps = torch.zeros((), dtype=torch.int32, device=device)

    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        """Divides the gradients that a scaled loss left."""
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.div_(self.value)

    def update(self, norm: Tensor) -> None:
        """Looks at the norm of a step's gradients."""
        good = torch.where(torch.isfinite(norm), self._good_steps + 1, 0)
        grown = torch.where(good == _GROWTH_INTERVAL, _GROWTH, 1.0)
        self.value.mul_(torch.where(good == 0, _BACKOFF, grown))
        self._good_steps.copy_(good % _GROWTH_INTERVAL)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"value": self.value, "good_steps": self._good_steps}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on with a checkpoint's."""
        self.value.copy_(state["value"])
        self._good_steps.copy_(state["good_steps"])
