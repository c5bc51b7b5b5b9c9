"""BitFit: a trained bias vector on each module's output."""

from milora.tuners.bitfit.config import BitfitConfig as BitfitConfig
from milora.tuners.bitfit.layer import BitfitLinear as BitfitLinear
from milora.tuners.bitfit.model import BitfitModel as BitfitModel

__all__ = ["BitfitConfig", "BitfitLinear", "BitfitModel"]
