"""x Wᵀ of few rows by the library that is fastest on this machine.

Decoding multiplies a token or a few with every weight. torch hands float32 products on a CPU to MKL, which on AMD's
processors then computes at half the speed that memory allows; oneDNN, which torch has too, does not
(docs/decisions/engine.md has the figures).

Shapes: N rows, I in, O out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from milora.models import is_amd


def linear(inputs_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """x Wᵀ + b, [N, O]; without gradients."""
    if not runs_onednn(inputs_NI):
        return functional.linear(inputs_NI, weight_OI, bias_O)
    # torch's compiler takes its own operation only with weights that are laid out anew, a copy.
    multiply = torch.ops.milora.linear if torch.compiler.is_compiling() else by_onednn
    return multiply(inputs_NI, weight_OI, bias_O)


def runs_onednn(inputs: Tensor) -> bool:
    """Whether :func:`linear` multiplies these states by oneDNN."""
    return _PREFERS_ONEDNN and inputs.dtype == torch.float32 and inputs.device.type == "cpu"


def by_onednn(inputs_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """x Wᵀ + b, [N, O], float32 on a CPU; the weight may be one that oneDNN has laid out anew."""
    multiply: Any = torch.ops.mkldnn._linear_pointwise
    return multiply(inputs_NI, weight_OI, bias_O, "none", [], "")


def _shaped(inputs_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    return inputs_NI.new_empty(inputs_NI.shape[0], weight_OI.shape[0])


# torch has the operation for its own compiler, under a name that may change: then MKL goes on multiplying.
_PREFERS_ONEDNN = is_amd() and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")

_LIBRARY = torch.library.Library("milora", "FRAGMENT")
_LIBRARY.define("linear(Tensor inputs, Tensor weight, Tensor? bias) -> Tensor")
_LIBRARY.impl("linear", by_onednn, "CompositeExplicitAutograd")
torch.library.register_fake("milora::linear", _shaped, lib=_LIBRARY)
