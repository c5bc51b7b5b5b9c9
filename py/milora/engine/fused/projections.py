"""The linear modules of a decoder layer, fused where they share an input.

The modules' own weights become views of the fused one, so that nothing is held twice and whatever else uses the model
goes on as before.

Shapes: N rows, I in, O out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from milora.engine.fused.linear import linear, runs_onednn


class GroupUpdate(Protocol):
    """What adapters change of a projection's output."""

    @property
    def rescales(self) -> bool:
        """Whether it needs that output alone, nothing added."""
        ...

    def apply(self, inputs_NI: Tensor, output_NO: Tensor) -> Tensor:
        """The changed output; ``output_NO`` may be overwritten."""
        ...


LayerUpdates = Sequence[GroupUpdate | None]
"""What adapters change of a layer's outputs, by the groups of :class:`milora.engine.fused.sites.Sites`."""

UpdatesOf = Callable[[int, Tensor], LayerUpdates]
"""A layer's updates, told its index and the states that enter it, [rows, hidden size]."""


@dataclass(frozen=True)
class Projection:
    """One product of a layer: weight [out, in]; ``transposed`` is a view of it, ``sizes`` the modules' outputs."""

    sizes: tuple[int, ...]
    weight: Tensor
    transposed: Tensor
    bias: Tensor | None

    def __call__(self, inputs_NI: Tensor, update: GroupUpdate | None) -> Tensor:
        """The output with an adapters' update, [N, O]."""
        output_NO = linear(inputs_NI, self.weight, self.bias)
        return output_NO if update is None else update.apply(inputs_NI, output_NO)

    def added_to(self, residual_NO: Tensor, inputs_NI: Tensor, update: GroupUpdate | None) -> Tensor:
        """The residual stream plus the output, in one product where that costs least."""
        rescales = update is not None and update.rescales
        if self.bias is not None or rescales or runs_onednn(inputs_NI):
            return residual_NO + self(inputs_NI, update)
        total_NO = torch.addmm(residual_NO, inputs_NI, self.transposed)
        return total_NO if update is None else update.apply(inputs_NI, total_NO)


def fuse(linears: Sequence[nn.Linear]) -> Projection:
    """One projection for modules with the same input, their outputs side by side; fusing again copies nothing."""
    weight = _fused([linear.weight for linear in linears])
    has_bias = linears[0].bias is not None
    sizes = tuple(linear.out_features for linear in linears)
    return Projection(sizes, weight, weight.t(), _fused([linear.bias for linear in linears]) if has_bias else None)


def _fused(parameters: Sequence[Tensor]) -> Tensor:
    first = parameters[0].detach()
    if len(parameters) == 1:
        return first
    whole = (sum(parameter.shape[0] for parameter in parameters), *first.shape[1:])
    if _side_by_side(parameters):
        return first.as_strided(whole, first.stride())
    fused = torch.cat([parameter.detach() for parameter in parameters])
    for parameter, part in zip(parameters, fused.split([parameter.shape[0] for parameter in parameters]), strict=True):
        parameter.data = part
    return fused


def _side_by_side(parameters: Sequence[Tensor]) -> bool:
    """Whether the tensors already lie one behind the other in one storage."""
    storage = parameters[0].untyped_storage().data_ptr()
    offset = parameters[0].storage_offset()
    for parameter in parameters:
        same = parameter.untyped_storage().data_ptr() == storage and parameter.storage_offset() == offset
        if not (same and parameter.is_contiguous()):
            return False
        offset += parameter.numel()
    return True
