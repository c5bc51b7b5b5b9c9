"""The Parallel-Adapter tuner."""

from __future__ import annotations

from milora.tuners.base import BlockTuner
from milora.tuners.parallel_adapter.layer import ParallelAdapterBlock


class ParallelAdapterModel(BlockTuner):
    """Parallel-Adapter as an external PEFT tuner."""

    prefix = "milora_parallel_adapter_"
    label = "Parallel-Adapter"
    merge_refusal = "it is not linear"
    layer_class = ParallelAdapterBlock
    tuner_layer_cls = ParallelAdapterBlock
