"""The BitFit tuner."""

from __future__ import annotations

from milora.tuners.base import LinearTuner
from milora.tuners.bitfit.layer import BitfitLinear


class BitfitModel(LinearTuner):
    """BitFit as an external PEFT tuner."""

    prefix = "milora_bitfit_"
    label = "BitFit"
    merge_refusal = "its base modules have no bias that could take it"
    layer_class = BitfitLinear
    tuner_layer_cls = BitfitLinear
