"""MOELoRA: each module a mixture of low-rank experts, chosen for each token."""

from milora.tuners.moelora.config import MoeloraConfig as MoeloraConfig
from milora.tuners.moelora.hooks import MoeloraHooks as MoeloraHooks
from milora.tuners.moelora.layer import MoeloraLinear as MoeloraLinear
from milora.tuners.moelora.model import MoeloraModel as MoeloraModel

__all__ = ["MoeloraConfig", "MoeloraHooks", "MoeloraLinear", "MoeloraModel"]
