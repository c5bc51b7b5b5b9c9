"""``accumulate: "float32"``: a base module's product without rounding, so that a small update is not lost in it.

At bf16 an adapter output below half an ulp of the base's output vanishes when the two are added: the base's output
already lies on the bf16 grid, and the sum is rounded back to it. With the base's product kept in float32 the sum is
rounded once: over many outputs it then moves by what was added, on average.

What it does: the base's product (operands in the base's dtype, result in float32), the adapter's last product and
their sum are float32, and the module's output is rounded once to the base's dtype. What it does not: the output is
still in the base's dtype, as are the residual stream, norms and attention; the adapter's first product is in the
base's dtype; backward, the gradient is rounded to the base's dtype before the product with the base's weight. The
product costs a float32 copy of the weight for the time of the call; the copy is not kept for the backward pass. For a
base module that is no plain bf16 or fp16 linear (quantised, hooked, trained itself) only the sum is in float32, and
over a float32 base nothing changes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from milora.models import ROUNDED


class _WideLinear(torch.autograd.Function):
    """x Wᵀ + b in float32 from operands of a smaller dtype; W and b are frozen. The backward pass keeps W alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return functional.linear(x.float(), weight.float(), None if bias is None else bias.float())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return grad_outputs[0].to(weight.dtype) @ weight, None, None


def wide_output(base: nn.Module, x: Tensor) -> Tensor | None:
    """A base module's output in float32; None where only the module itself can compute it."""
    if type(base) is not nn.Linear or "forward" in base.__dict__ or base._forward_hooks or base._forward_pre_hooks:
        return None
    weight = base.weight
    if weight.dtype not in ROUNDED or x.dtype != weight.dtype or weight.requires_grad:
        return None
    # Autocast would round the product.
    with torch.autocast(x.device.type, enabled=False):
        output = _WideLinear.apply(x, weight, base.bias)
    assert isinstance(output, Tensor)
    return output
