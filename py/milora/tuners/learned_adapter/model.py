"""The Learned-Adapter tuner."""

from __future__ import annotations

from milora.tuners.base import BlockTuner
from milora.tuners.learned_adapter.layer import LearnedAdapterBlock


class LearnedAdapterModel(BlockTuner):
    """Learned-Adapter as an external PEFT tuner."""

    prefix = "milora_learned_adapter_"
    label = "Learned-Adapter"
    merge_refusal = "it is not linear"
    layer_class = LearnedAdapterBlock
    tuner_layer_cls = LearnedAdapterBlock
