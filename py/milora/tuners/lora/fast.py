"""PEFT's LoRA layers with a faster forward pass for the time of a training step; the classes stay PEFT's.

PEFT computes a LoRA module in the dtype of its parameters: over a bf16 base every input is cast to float32, and the
two thin products cost as much as all others together.
"""

from __future__ import annotations

import functools
from typing import Any

from peft.tuners.lora.layer import Linear
from torch import Tensor, nn

from milora.models import Forward
from milora.tuners.base import Factors, low_rank_linear, takes_fast_forward


def fast_forward(module: nn.Module, adapter: str) -> Forward | None:
    """What computes the module's output in the base's dtype; None where PEFT's own forward must.

    That is so for another kind of layer or base module, a variant (DoRA), several active adapters, and over a float32
    base, where PEFT's arithmetic costs nothing more and stays what it is to the last bit.
    """
    if type(module) is not Linear or module.active_adapters != [adapter] or adapter not in module.lora_A:
        return None
    if module.disable_adapters or module.merged or adapter in module.lora_variant or module.lora_bias[adapter]:
        return None
    base = module.get_base_layer()
    if not isinstance(base, nn.Linear) or not takes_fast_forward(base):
        return None
    layer: Any = module
    down, up = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    factors = Factors.of(down, up, module.scaling[adapter], base.weight.dtype)
    return functools.partial(_forward, base, factors, module.lora_dropout[adapter])


def _forward(base: nn.Linear, factors: Factors, dropout: nn.Module, x: Tensor) -> Tensor:
    dropped = None if isinstance(dropout, nn.Identity) else dropout(x)
    return low_rank_linear(x, base, factors, dropped=dropped)
