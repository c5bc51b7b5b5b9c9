"""Parallel-Adapter: a bottleneck beside each block."""

from milora.tuners.parallel_adapter.config import ParallelAdapterConfig as ParallelAdapterConfig
from milora.tuners.parallel_adapter.layer import ParallelAdapterBlock as ParallelAdapterBlock
from milora.tuners.parallel_adapter.model import ParallelAdapterModel as ParallelAdapterModel

__all__ = ["ParallelAdapterBlock", "ParallelAdapterConfig", "ParallelAdapterModel"]
