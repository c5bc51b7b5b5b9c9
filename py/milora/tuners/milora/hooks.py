"""MiLoRA's part in training: routers decide once a prompt."""

from __future__ import annotations

from typing import Literal

from peft.config import PeftConfig
from torch import nn

from milora.models import Forward
from milora.tuners.base import MethodHooks
from milora.tuners.milora.config import MiloraConfig
from milora.tuners.milora.fast import fast_forward


class MiloraHooks(MethodHooks):
    """MiLoRA and MiDoRA; under a fixed policy nothing is routed, and the prompt is not needed."""

    def label_of(self, config: PeftConfig) -> str:
        """MiLoRA, or MiDoRA over DoRA experts."""
        return "MiDoRA" if isinstance(config, MiloraConfig) and config.expert == "dora" else self.label

    def routed_unit(self, config: PeftConfig) -> Literal["prompt", "token"] | None:
        """A prompt, under the learned policy."""
        return "prompt" if isinstance(config, MiloraConfig) and config.policy == "learned" else None

    def records_prompts(self, config: PeftConfig) -> bool:
        """Always: also a fixed policy tells its experts."""
        return True

    def fast_forward(self, module: nn.Module, adapter: str) -> Forward | None:
        """LoRA experts."""
        return fast_forward(module, adapter)
