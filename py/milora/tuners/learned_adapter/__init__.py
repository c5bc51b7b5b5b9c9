"""Learned-Adapter: a bottleneck a block, whose placement and activation are searched."""

from milora.tuners.learned_adapter.config import ARCHITECTURES as ARCHITECTURES
from milora.tuners.learned_adapter.config import LearnedAdapterConfig as LearnedAdapterConfig
from milora.tuners.learned_adapter.hooks import LearnedAdapterHooks as LearnedAdapterHooks
from milora.tuners.learned_adapter.layer import LearnedAdapterBlock as LearnedAdapterBlock
from milora.tuners.learned_adapter.model import LearnedAdapterModel as LearnedAdapterModel

__all__ = [
    "ARCHITECTURES",
    "LearnedAdapterBlock",
    "LearnedAdapterConfig",
    "LearnedAdapterHooks",
    "LearnedAdapterModel",
]
