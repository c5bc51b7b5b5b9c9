"""IAPT: soft tokens that each layer makes from the prompt, once."""

from milora.tuners.iapt.config import IaptConfig as IaptConfig
from milora.tuners.iapt.hooks import IaptHooks as IaptHooks
from milora.tuners.iapt.layer import IaptBlock as IaptBlock
from milora.tuners.iapt.model import IaptModel as IaptModel

__all__ = ["IaptBlock", "IaptConfig", "IaptHooks", "IaptModel"]
