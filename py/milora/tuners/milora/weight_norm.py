"""The weight norm of DoRA, ‖W + s B A‖ of each output, computed again only when one of the three has changed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn


def row_norms(weight: Tensor, down: Tensor | None = None, up: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """‖W + s B A‖ of each row, [out], in the dtype of B (W alone: in float32, or float64); without gradient.

    Args:
        weight: W, [out, in].
        down: Aᵀ as it is stored, [rank, in].
        up: Bᵀ as it is stored, [out, rank].
        scale: s.
    """
    with torch.no_grad(), torch.autocast(device_type=weight.device.type, enabled=False):
        if down is None or up is None:
            wide = weight if weight.dtype == torch.float64 else weight.float()
            return torch.linalg.vector_norm(wide, dim=1)
        return torch.linalg.vector_norm(torch.addmm(weight.to(up.dtype), up, down, alpha=scale), dim=1)


def base_weight(base: nn.Module) -> Tensor:
    """The weight of a base module, [out, in], out of its quantised form where it has one."""
    return dequantize_module_weight(base)


@dataclass(frozen=True)
class _Kept:
    key: tuple[object, ...]
    norms: Tensor
    # Aliases: while they live, no other tensor can take their place in memory and pass for them.
    factors: tuple[Tensor, Tensor]


class WeightNorms:
    """The norms of one module's adapters, kept between forward passes that do not train.

    A copy starts empty. What is kept holds as long as A, B and W are the same tensors, unchanged; in-place changes
    through ``.data`` are not seen, so :meth:`clear` is called whenever a module moves or goes into training mode.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def __reduce__(self) -> tuple[type[WeightNorms], tuple[()]]:
        return (WeightNorms, ())

    def clear(self) -> None:
        """Forgets all norms."""
        self._kept.clear()

    def norms(self, adapter: str, base: nn.Module, down: Tensor, up: Tensor, scale: float) -> Tensor:
        """‖W + s B A‖ of each output, [out], without gradient."""
        stored = base.weight
        assert isinstance(stored, Tensor)
        trains = torch.is_grad_enabled() and (down.requires_grad or up.requires_grad)
        # Inference tensors count no changes.
        if trains or any(tensor.is_inference() for tensor in (down, up, stored)):
            return row_norms(base_weight(base).to(up.device), down, up, scale)
        key = (scale, *(value for tensor in (down, up, stored) for value in _identity(tensor)))
        kept = self._kept.get(adapter)
        if kept is None or kept.key != key:
            norms = row_norms(base_weight(base).to(up.device), down, up, scale)
            kept = _Kept(key, norms, (down.detach(), up.detach()))
            self._kept[adapter] = kept
        return kept.norms


def _identity(tensor: Tensor) -> tuple[object, ...]:
    return tensor.data_ptr(), tensor._version, tensor.device, tensor.dtype
