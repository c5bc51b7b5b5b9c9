"""MiLoRA (arXiv 2410.18035) for PEFT: ``import milora``, then load adapters as any PEFT adapter."""

from milora.errors import MiloraError as MiloraError
from milora.public import load as load
from milora.public import route as route
from milora.public import save as save
from milora.tuners import register as _register
from milora.tuners.milora import MiloraConfig as MiloraConfig

__all__ = ["MiloraConfig", "MiloraError", "load", "route", "save"]

_register()
