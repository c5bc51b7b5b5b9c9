"""What a method adds to training beyond its parameters; the default adds nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal

from peft.config import PeftConfig
from torch import Tensor, nn

from milora.errors import MiloraError
from milora.models import Forward, forwards_replaced


def config_of(model: nn.Module, adapter: str) -> Any:
    """The config of a PeftModel's adapter."""
    return getattr(model, "peft_config")[adapter]  # noqa: B009 - only a PeftModel declares it


class MethodHooks:
    """A method's name and part in training. A method that adds nothing uses this class itself."""

    def __init__(self, label: str) -> None:
        self.label = label

    def label_of(self, config: PeftConfig) -> str:
        """The method's name, of this adapter."""
        return self.label

    def routed_unit(self, config: PeftConfig) -> Literal["prompt", "token"] | None:
        """What the adapter's routers decide for: its balance loss counts these; None without learned routers."""
        return None

    def reads_prompt(self, config: PeftConfig) -> bool:
        """True where the adapter must know which tokens are the prompt."""
        return self.routed_unit(config) == "prompt"

    def records_prompts(self, config: PeftConfig) -> bool:
        """True where the adapter tells for each prompt which experts it chose."""
        return False

    def extra_loss(self, model: nn.Module, adapter: str) -> Tensor | None:
        """A term of the training loss, once a step; never part of a dev loss."""
        return None

    def fast_forward(self, module: nn.Module, adapter: str) -> Forward | None:
        """What computes a module's output faster for the time of one training step; None: the module itself does.

        It may hold copies of the parameters as they are now. Its numbers are the module's own, up to rounding.
        """
        return None

    def fast_forwards(self, model: nn.Module, adapter: str) -> AbstractContextManager[None]:
        """Inside, every module that can be computed faster is; the parameters must not change meanwhile."""
        found = {module: self.fast_forward(module, adapter) for module in model.modules()}
        return forwards_replaced({module: forward for module, forward in found.items() if forward is not None})

    def after_update(self, model: nn.Module, adapter: str, step: int) -> None:
        """Called after the optimiser's update and before the gradients are cleared; ``step`` counts from 1."""

    def state(self, model: nn.Module, adapter: str) -> dict[str, Tensor]:
        """What a checkpoint must hold besides parameters and moments."""
        return {}

    def load_state(self, model: nn.Module, adapter: str, tensors: dict[str, Tensor]) -> None:
        """Puts :meth:`state` back."""

    def prune(self, model: nn.Module, adapter: str) -> int:
        """One step of a search: drops the weakest candidate of each place; gives how many are left at most."""
        raise self._no_search()

    def discretised(self, model: nn.Module, adapter: str) -> dict[str, Any]:
        """The config of the adapter that a search found: the kept candidates alone, to be trained anew."""
        raise self._no_search()

    def _no_search(self) -> MiloraError:
        return MiloraError("adapter/unsupported", "The adapter's method has no search; only Learned-Adapter and SSP.")
