"""The MOELoRA tuner."""

from __future__ import annotations

from typing import Any

from torch import nn

from milora.routing.context import install_context, remove_context
from milora.tuners.base import LinearTuner, Site
from milora.tuners.moelora.layer import MoeloraLinear


class MoeloraModel(LinearTuner):
    """MOELoRA as an external PEFT tuner."""

    prefix = "milora_moelora_"
    label = "MOELoRA"
    merge_refusal = "which experts are active depends on the token"
    layer_class = MoeloraLinear
    tuner_layer_cls = MoeloraLinear

    def layer_at(self, site: Site, target: nn.Module, target_name: str, parent: nn.Module) -> MoeloraLinear:
        """Wraps the linear module, once; the routers' balance is told through the model's routing context."""
        if isinstance(target, MoeloraLinear):
            return target
        layer = MoeloraLinear(target, install_context(self.model))
        layer.set_adapter(self.active_adapters)
        self._replace_module(parent, target_name, layer, target)
        return layer

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> Any:
        super()._unload_and_optionally_merge(*args, **kwargs)
        remove_context(self.model)
        return self.model
