"""(IA)³: a trained scale of Q's, K's and U's outputs."""

from milora.tuners.ia3.config import Ia3Config as Ia3Config
from milora.tuners.ia3.layer import Ia3Linear as Ia3Linear
from milora.tuners.ia3.model import Ia3Model as Ia3Model

__all__ = ["Ia3Config", "Ia3Linear", "Ia3Model"]
