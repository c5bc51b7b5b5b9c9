"""MOELoRA's part in training: routers decide for each token."""

from __future__ import annotations

from typing import Literal

from peft.config import PeftConfig

from milora.tuners.base import MethodHooks


class MoeloraHooks(MethodHooks):
    """The balance loss counts tokens; where the prompt ends does not matter."""

    def routed_unit(self, config: PeftConfig) -> Literal["prompt", "token"] | None:
        """A token."""
        return "token"
