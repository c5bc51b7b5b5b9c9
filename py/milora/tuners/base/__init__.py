"""What the methods' tuners have in common: planned configs, the layers of an adapter, hooks into training."""

from milora.tuners.base.config import FORMAT_VERSION as FORMAT_VERSION
from milora.tuners.base.config import PlannedConfig as PlannedConfig
from milora.tuners.base.config import Site as Site
from milora.tuners.base.config import is_positive as is_positive
from milora.tuners.base.config import layer_index_of as layer_index_of
from milora.tuners.base.hooks import MethodHooks as MethodHooks
from milora.tuners.base.hooks import config_of as config_of
from milora.tuners.base.layer import BLOCK_ATTRIBUTE as BLOCK_ATTRIBUTE
from milora.tuners.base.layer import BlockAdapter as BlockAdapter
from milora.tuners.base.layer import LinearAdapter as LinearAdapter
from milora.tuners.base.layer import active_adapters_of as active_adapters_of
from milora.tuners.base.layer import new_parameter as new_parameter
from milora.tuners.base.layer import trainable_dtype as trainable_dtype
from milora.tuners.base.low_rank import Factors as Factors
from milora.tuners.base.low_rank import low_rank_linear as low_rank_linear
from milora.tuners.base.low_rank import takes_fast_forward as takes_fast_forward
from milora.tuners.base.model import BlockTuner as BlockTuner
from milora.tuners.base.model import LinearTuner as LinearTuner
from milora.tuners.base.model import Place as Place
from milora.tuners.base.model import PlannedTuner as PlannedTuner
from milora.tuners.base.plan import check_plan as check_plan
from milora.tuners.base.prefix import PrefixBlock as PrefixBlock
from milora.tuners.base.prefix import PrefixTuner as PrefixTuner

__all__ = [
    "BLOCK_ATTRIBUTE",
    "FORMAT_VERSION",
    "BlockAdapter",
    "BlockTuner",
    "Factors",
    "LinearAdapter",
    "LinearTuner",
    "MethodHooks",
    "Place",
    "PlannedConfig",
    "PlannedTuner",
    "PrefixBlock",
    "PrefixTuner",
    "Site",
    "active_adapters_of",
    "check_plan",
    "config_of",
    "is_positive",
    "layer_index_of",
    "low_rank_linear",
    "new_parameter",
    "takes_fast_forward",
    "trainable_dtype",
]
