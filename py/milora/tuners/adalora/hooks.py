"""AdaLoRA's part in training: the orthogonality loss, the budget, and what a resume needs of its allocator."""

from __future__ import annotations

from typing import Any

import torch
from peft import AdaLoraConfig
from torch import Tensor, nn

from milora.errors import MiloraError
from milora.tuners.base import MethodHooks

_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
_PATTERN = "rank_pattern"


class AdaloraHooks(MethodHooks):
    """The arithmetic is PEFT's; here is when it happens."""

    def extra_loss(self, model: nn.Module, adapter: str) -> Tensor | None:
        """The orthogonality term as PEFT's forward adds it: weight · mean of ‖P Pᵀ - I‖ over all A and B."""
        config = _trained(model, adapter).peft_config[adapter]
        distances: list[Tensor] = []
        for name, parameter in model.named_parameters():
            if not name.endswith((f"lora_A.{adapter}", f"lora_B.{adapter}")):
                continue
            product = parameter @ parameter.T if "lora_A" in name else parameter.T @ parameter
            distances.append(
                torch.linalg.matrix_norm(product - torch.eye(len(product), out=torch.empty_like(product)))
            )
        return config.orth_reg_weight * torch.stack(distances).mean()

    def after_update(self, model: nn.Module, adapter: str, step: int) -> None:
        """Updates the importance of each singular value from its gradient, and prunes when the schedule says so."""
        tuner = _trained(model, adapter)
        for parameter in model.parameters():
            if parameter.grad is not None:
                # The optimiser has skipped such a step; a NaN in the averages would end all pruning, unnoticed.
                parameter.grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        tuner.update_and_allocate(step)
        config: AdaLoraConfig = tuner.peft_config[adapter]
        if config.total_step is not None and step < config.total_step - config.tfinal:
            # Until the budget is reached pruned values grow back; PEFT would leave them out of what is saved.
            config.rank_pattern = None

    def state(self, model: nn.Module, adapter: str) -> dict[str, Tensor]:
        """The allocator's averages, and which singular values are kept; the parameters themselves stay unpruned."""
        tuner = _trained(model, adapter)
        allocator = tuner.rankallocator
        tensors = {
            f"{average}.{name}": tensor
            for average in _AVERAGES
            for name, tensor in getattr(allocator, average).items()
        }
        pattern = tuner.peft_config[adapter].rank_pattern or {}
        return tensors | {f"{_PATTERN}.{name}": torch.tensor(kept) for name, kept in pattern.items()}

    def load_state(self, model: nn.Module, adapter: str, tensors: dict[str, Tensor]) -> None:
        """Puts the allocator back."""
        tuner = _trained(model, adapter)
        allocator = tuner.rankallocator
        allocator.reset_ipt()
        pattern: dict[str, list[bool]] = {}
        device = next(model.parameters()).device
        for key, tensor in tensors.items():
            kind, _, name = key.partition(".")
            if kind == _PATTERN:
                pattern[name] = tensor.tolist()
            else:
                getattr(allocator, kind)[name] = tensor.to(device)
        tuner.peft_config[adapter].rank_pattern = pattern or None


def _trained(model: nn.Module, adapter: str) -> Any:
    """PEFT's tuner, where it has an allocator for the adapter."""
    tuner = getattr(model, "base_model", None)
    if getattr(tuner, "trainable_adapter_name", None) != adapter:
        raise MiloraError(
            "adapter/unsupported",
            f"The AdaLoRA adapter {adapter!r} cannot be trained as it is here: PEFT keeps a budget for one adapter of "
            "a model only, put in to be trained before any other. Take the others off; a loaded or pruned adapter is "
            "trained on by a new one that starts from it (train.warmStart).",
            found=adapter,
        )
    return tuner
