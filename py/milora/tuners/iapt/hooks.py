"""IAPT's part in training: its soft tokens are made from the prompt."""

from __future__ import annotations

from peft.config import PeftConfig

from milora.tuners.base import MethodHooks


class IaptHooks(MethodHooks):
    """Nothing is routed, but the prompt must be known."""

    def reads_prompt(self, config: PeftConfig) -> bool:
        """Always."""
        return True
