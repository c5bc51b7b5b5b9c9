"""The names of PEFT's LoRA, with and without magnitudes of its own."""

from __future__ import annotations

from peft import LoraConfig
from peft.config import PeftConfig
from torch import nn

from milora.models import Forward
from milora.tuners.base import MethodHooks
from milora.tuners.lora.fast import fast_forward


class LoraHooks(MethodHooks):
    """LoRA, or DoRA by its config; neither adds anything to training."""

    def label_of(self, config: PeftConfig) -> str:
        """LoRA or DoRA."""
        return "DoRA" if isinstance(config, LoraConfig) and config.use_dora else self.label

    def fast_forward(self, module: nn.Module, adapter: str) -> Forward | None:
        """LoRA over a base in bf16 or fp16."""
        return fast_forward(module, adapter)
