"""The IAPT tuner."""

from __future__ import annotations

from typing import Any

from milora.routing.context import remove_context
from milora.routing.generation import unwrap_generate
from milora.tuners.base import PrefixTuner
from milora.tuners.iapt.layer import IaptBlock


class IaptModel(PrefixTuner):
    """IAPT as an external PEFT tuner."""

    prefix = "milora_iapt_"
    label = "IAPT"
    merge_refusal = "its soft tokens depend on the prompt"
    layer_class = IaptBlock
    tuner_layer_cls = IaptBlock

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> Any:
        model = super()._unload_and_optionally_merge(*args, **kwargs)
        remove_context(model)
        unwrap_generate(model)
        return model
