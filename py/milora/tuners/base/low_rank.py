"""A frozen linear module and a low-rank adapter on it as one step of the graph, in the base's dtype.

y = x W + b + gate · s · (x A) B. The factors' float32 masters get the gradients, while the arithmetic uses copies of
them in the base's dtype, made once a training step. Against the same written out in modules this saves the casts of
every use, a pass over the output (the second product is added within the product itself, which also rounds the sum
once instead of twice), a pass over the input's gradient, and the input's gradient altogether where nobody wants it.

One product for the A's of modules with the same input was measured and is no faster: on a CPU three of rank 32 take
what one of rank 96 takes.

Shapes: B rows, T tokens, I in, O out, R rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from milora.models import ROUNDED, is_untouched


@dataclass(frozen=True)
class Factors:
    """The factors of an adapter on one module: masters that train, and what to compute with.

    ``down``: Aᵀ, [R, I]; ``up``: Bᵀ, [O, R]; ``scale``: s.
    """

    down: Tensor
    up: Tensor
    down_copy: Tensor
    up_copy: Tensor
    scale: float

    @classmethod
    def of(cls, down: Tensor, up: Tensor, scale: float, dtype: torch.dtype) -> Factors:
        """The factors with copies in ``dtype``, as the masters are now."""
        return cls(down, up, down.detach().to(dtype), up.detach().to(dtype), scale)


def low_rank_linear(
    x: Tensor,
    base: nn.Linear,
    factors: Factors,
    gate: Tensor | None = None,
    dropped: Tensor | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """The output of a frozen linear module with its adapter, [..., O].

    Args:
        x: Inputs, [B, T, I] (or [B, I]), of the copies' dtype.
        base: The module, W and b.
        factors: A, B and s.
        gate: A factor of each row's adapter output, [B]; None: 1.
        dropped: What A is multiplied with, where it is not x itself (dropout).
        rows: Indices of the rows that use the adapter, in order; the others' gate counts as 0, without a gradient.
            None: all rows.
    """
    weights = (base.weight, base.bias)
    copies = (factors.down_copy, factors.up_copy)
    output = _LowRankLinear.apply(x, dropped, gate, *weights, factors.down, factors.up, *copies, factors.scale, rows)
    assert isinstance(output, Tensor)
    return output


class _LowRankLinear(torch.autograd.Function):
    """See :func:`low_rank_linear`; r below: tokens of the rows that use the adapter."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dropped: Tensor | None,
        gate: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        down_copy: Tensor,
        up_copy: Tensor,
        scale: float,
        rows: Tensor | None,
    ) -> Tensor:
        source = x if dropped is None else dropped
        # The rows are picked again in the backward pass: x itself lives on for the layer's other modules.
        inner_rR = functional.linear(_picked(source, rows), down_copy)
        scaled_rR = _scaled(inner_rR, _picked(gate, rows), scale)
        output = functional.linear(x, weight, bias)
        _add_product(output, scaled_rR, up_copy.t(), rows)
        kept_source = source if ctx.needs_input_grad[5] else None
        kept_inner = inner_rR if ctx.needs_input_grad[2] else None
        ctx.save_for_backward(kept_source, kept_inner, scaled_rR, gate, weight, down_copy, up_copy, rows)
        ctx.scale, ctx.has_dropped, ctx.master = scale, dropped is not None, down.dtype
        return output

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        source, inner_rR, scaled_rR, gate, weight, down_copy, up_copy, rows = ctx.saved_tensors
        wants_x, wants_dropped, wants_gate, _, _, wants_down, wants_up = ctx.needs_input_grad[:7]
        grad = grad_outputs[0]
        grad_r = _picked(grad, rows)
        grad_scaled_rR = grad_r @ up_copy
        grad_inner_rR = _scaled(grad_scaled_rR, _picked(gate, rows), ctx.scale)
        grad_x = grad_dropped = grad_gate = grad_down = grad_up = None
        if wants_x:
            grad_x = grad @ weight
            if not ctx.has_dropped:
                _add_product(grad_x, grad_inner_rR, down_copy, rows)
        if wants_dropped:
            grad_dropped = grad.new_zeros(*grad.shape[:-1], down_copy.shape[1])
            _add_product(grad_dropped, grad_inner_rR, down_copy, rows)
        if wants_gate:
            # In the gate's precision: it is a sum over all tokens.
            by_row = (grad_scaled_rR.to(gate.dtype) * inner_rR).flatten(1).sum(dim=1) * ctx.scale
            grad_gate = by_row if rows is None else torch.zeros_like(gate).index_copy_(0, rows, by_row)
        if wants_down:
            picked = _picked(source, rows).flatten(0, -2)
            grad_down = (grad_inner_rR.flatten(0, -2).t() @ picked).to(ctx.master)
        if wants_up:
            grad_up = (grad_r.flatten(0, -2).t() @ scaled_rR.flatten(0, -2)).to(ctx.master)
        return grad_x, grad_dropped, grad_gate, None, None, grad_down, grad_up, None, None, None, None


def _picked(tensor: Any, rows: Tensor | None) -> Any:
    return tensor if tensor is None or rows is None else tensor.index_select(0, rows)


def _add_product(total: Tensor, left: Tensor, right: Tensor, rows: Tensor | None) -> None:
    """Adds left @ right to the rows of ``total``; to all of them within the product."""
    if rows is None:
        total.view(-1, total.shape[-1]).addmm_(left.flatten(0, -2), right)
    else:
        total.index_add_(0, rows, left @ right)


def _scaled(inner: Tensor, gate: Tensor | None, scale: float) -> Tensor:
    """gate · s · inner, in the dtype of ``inner``."""
    if gate is None:
        return inner if scale == 1 else inner * scale
    return (inner * (gate * scale).view(-1, *[1] * (inner.dim() - 1))).to(inner.dtype)


def takes_fast_forward(base: nn.Module) -> bool:
    """A linear module in bf16 or fp16 that is nothing but a product: not quantised, no hooks, no training of its own.

    Over a float32 base the modules' own arithmetic costs little more, and an adapter trains to the same last bits in
    any loop.
    """
    return type(base) is nn.Linear and base.weight.dtype in ROUNDED and is_untouched(base)
