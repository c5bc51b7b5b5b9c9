"""The fine-tuning methods, as PEFT tuners."""

from milora.tuners.build import build_config as build_config
from milora.tuners.parameters import count_parameters as count_parameters
from milora.tuners.parameters import split_parameters as split_parameters
from milora.tuners.registration import register as register

__all__ = ["build_config", "count_parameters", "register", "split_parameters"]
