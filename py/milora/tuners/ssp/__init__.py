"""SSP (S3Delta): a search for the modules and biases that are worth their parameters, within a budget."""

from milora.tuners.ssp.config import SspConfig as SspConfig
from milora.tuners.ssp.hooks import SspHooks as SspHooks
from milora.tuners.ssp.layer import SspLinear as SspLinear
from milora.tuners.ssp.model import SspModel as SspModel

__all__ = ["SspConfig", "SspHooks", "SspLinear", "SspModel"]
