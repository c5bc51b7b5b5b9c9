"""The names of PEFT's LoRA, with and without magnitudes of its own."""

from __future__ import annotations

from peft import LoraConfig
from peft.config import PeftConfig

from milora.tuners.base import MethodHooks


class LoraHooks(MethodHooks):
    """LoRA, or DoRA by its config; neither adds anything to training."""

    def label_of(self, config: PeftConfig) -> str:
        """LoRA or DoRA."""
        return "DoRA" if isinstance(config, LoraConfig) and config.use_dora else self.label
