"""MiLoRA: each LoRA module of a decoder layer is an expert, chosen once a prompt by the layer's router."""

from milora.tuners.milora.config import FORMAT_VERSION as FORMAT_VERSION
from milora.tuners.milora.config import PEFT_TYPE_NAME as PEFT_TYPE_NAME
from milora.tuners.milora.config import MiloraConfig as MiloraConfig
from milora.tuners.milora.freeze import freeze_experts as freeze_experts
from milora.tuners.milora.hooks import MiloraHooks as MiloraHooks
from milora.tuners.milora.layer import MiloraLinear as MiloraLinear
from milora.tuners.milora.model import MiloraModel as MiloraModel
from milora.tuners.milora.router import MiloraRouter as MiloraRouter

__all__ = [
    "FORMAT_VERSION",
    "PEFT_TYPE_NAME",
    "MiloraConfig",
    "MiloraHooks",
    "MiloraLinear",
    "MiloraModel",
    "MiloraRouter",
    "freeze_experts",
]
