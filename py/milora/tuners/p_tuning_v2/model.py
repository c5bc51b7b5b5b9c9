"""The P-tuning v2 tuner."""

from __future__ import annotations

from milora.tuners.base import PrefixTuner
from milora.tuners.p_tuning_v2.layer import PTuningV2Block


class PTuningV2Model(PrefixTuner):
    """P-tuning v2 as an external PEFT tuner."""

    prefix = "milora_p_tuning_v2_"
    label = "P-tuning v2"
    merge_refusal = "its soft tokens are no weights of the model"
    layer_class = PTuningV2Block
    tuner_layer_cls = PTuningV2Block
