"""The router's activation g: a learned rational function, or a fixed one (the paper, section 3.4 and table 5)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

ActivationName = Literal["rational", "gelu", "relu"]
"""``rational`` is learned, with coefficients in :mod:`milora.routing.rational`; the others have no parameters."""


def fixed_activation(name: ActivationName, inputs: Tensor) -> Tensor:
    """GeLU (the exact one, x Φ(x)) or ReLU, elementwise."""
    assert name != "rational"
    return functional.gelu(inputs) if name == "gelu" else functional.relu(inputs)
