"""The SSP tuner."""

from __future__ import annotations

from typing import Any

from peft.config import PeftConfig
from torch import nn

from milora.tuners.base import LinearTuner
from milora.tuners.ssp.config import SspConfig
from milora.tuners.ssp.layer import SspLinear
from milora.tuners.ssp.search import install_search, remove_search


class SspModel(LinearTuner):
    """SSP as an external PEFT tuner."""

    prefix = "milora_ssp_"
    label = "SSP"
    merge_refusal = "its base modules have no bias that could take what it kept"
    layer_class = SspLinear
    tuner_layer_cls = SspLinear

    def _prepare_model(self, peft_config: PeftConfig, model: nn.Module) -> None:
        super()._prepare_model(peft_config, model)
        assert isinstance(peft_config, SspConfig)
        if peft_config.budget is not None:
            install_search(model)

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> Any:
        super()._unload_and_optionally_merge(*args, **kwargs)
        remove_search(self.model)
        return self.model
