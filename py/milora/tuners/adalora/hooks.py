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
        config: AdaLoraConfig = getattr(model, "peft_config")[adapter]  # noqa: B009 - only a PeftModel declares it
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
        _tuner(model).update_and_allocate(step)

    def state(self, model: nn.Module, adapter: str) -> dict[str, Tensor]:
        """The allocator's averages, and which singular values are kept; the parameters themselves stay unpruned."""
        allocator = _tuner(model).rankallocator
        tensors = {
            f"{average}.{name}": tensor
            for average in _AVERAGES
            for name, tensor in getattr(allocator, average).items()
        }
        config: AdaLoraConfig = getattr(model, "peft_config")[adapter]  # noqa: B009 - only a PeftModel declares it
        pattern = config.rank_pattern or {}
        return tensors | {f"{_PATTERN}.{name}": torch.tensor(kept) for name, kept in pattern.items()}

    def load_state(self, model: nn.Module, adapter: str, tensors: dict[str, Tensor]) -> None:
        """Puts the allocator back."""
        allocator = _tuner(model).rankallocator
        allocator.reset_ipt()
        pattern: dict[str, list[bool]] = {}
        device = next(model.parameters()).device
        for key, tensor in tensors.items():
            kind, _, name = key.partition(".")
            if kind == _PATTERN:
                pattern[name] = tensor.tolist()
            else:
                getattr(allocator, kind)[name] = tensor.to(device)
        config: AdaLoraConfig = getattr(model, "peft_config")[adapter]  # noqa: B009 - only a PeftModel declares it
        config.rank_pattern = pattern or None


def _tuner(model: nn.Module) -> Any:
    tuner = getattr(model, "base_model", None)
    if getattr(tuner, "rankallocator", None) is None:
        raise MiloraError(
            "adapter/unsupported",
            "PEFT trains one AdaLoRA adapter in a model, the first that was put into it: take the others off first.",
        )
    return tuner
