"""The (IA)³ tuner."""

from __future__ import annotations

from milora.tuners.base import LinearTuner
from milora.tuners.ia3.layer import Ia3Linear


class Ia3Model(LinearTuner):
    """(IA)³ as an external PEFT tuner."""

    prefix = "milora_ia3_"
    label = "(IA)³"
    merge_refusal = (
        "it is kept as a small vector and its projection; its scales would change every row of the base's weights"
    )
    layer_class = Ia3Linear
    tuner_layer_cls = Ia3Linear
