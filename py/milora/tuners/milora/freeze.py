"""Training the routers alone."""

from __future__ import annotations

from torch import nn

from milora.tuners.milora.layer import MiloraLinear


def freeze_experts(model: nn.Module, adapter: str) -> None:
    """Freezes an adapter's experts for good, so that only its routers train, whatever PEFT activates later."""
    for module in model.modules():
        if not isinstance(module, MiloraLinear) or adapter not in module.milora_prompt_settings:
            continue
        # PEFT keeps what an adapter declares as not trainable, in an attribute of the class until one is set.
        module.frozen_peft_weight_names = {
            **module.frozen_peft_weight_names,
            adapter: MiloraLinear.adapter_layer_names,
        }
        module.set_requires_grad(adapter, False)
