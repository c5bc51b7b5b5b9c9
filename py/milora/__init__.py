"""MiLoRA (arXiv 2410.18035) for PEFT: ``import milora``, then load adapters as any PEFT adapter."""

import importlib
import os
from typing import TYPE_CHECKING

from milora.errors import MiloraError as MiloraError

if TYPE_CHECKING:
    from milora.planning import plan as plan
    from milora.public import attach as attach
    from milora.public import load as load
    from milora.public import route as route
    from milora.public import save as save
    from milora.tuners.milora import MiloraConfig as MiloraConfig

__all__ = ["MiloraConfig", "MiloraError", "attach", "load", "plan", "route", "save"]

_homes = {
    "MiloraConfig": "milora.tuners.milora",
    "attach": "milora.public",
    "load": "milora.public",
    "plan": "milora.planning",
    "route": "milora.public",
    "save": "milora.public",
}

# The bridge's Python is up before torch is loaded: there the operations register the methods.
if "MILORA_SERVER" not in os.environ:
    importlib.import_module("milora.tuners").register()


def __getattr__(name: str) -> object:
    """The public names, loaded when they are first asked for."""
    if name not in _homes:
        raise AttributeError(f"module 'milora' has no attribute {name!r}")
    return getattr(importlib.import_module(_homes[name]), name)
