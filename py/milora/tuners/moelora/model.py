"""The MOELoRA tuner."""

from __future__ import annotations

from typing import Any

from torch import nn

from milora.routing.context import install_context, remove_context
from milora.tuners.base import LinearTuner
from milora.tuners.moelora.layer import MoeloraLinear


class MoeloraModel(LinearTuner):
    """MOELoRA as an external PEFT tuner."""

    prefix = "milora_moelora_"
    label = "MOELoRA"
    merge_refusal = "which experts are active depends on the token"
    layer_class = MoeloraLinear
    tuner_layer_cls = MoeloraLinear

    def new_layer(self, base_layer: nn.Module) -> MoeloraLinear:
        """The routers' balance is told through the model's routing context."""
        return MoeloraLinear(base_layer, install_context(self.model))

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> Any:
        super()._unload_and_optionally_merge(*args, **kwargs)
        remove_context(self.model)
        return self.model
