"""Gradient checkpointing: layers are computed again in the backward pass in place of being kept."""

from __future__ import annotations

from transformers import PreTrainedModel

from milora.errors import MiloraError


def recompute_layers(model: PreTrainedModel, on: bool) -> None:
    """Turns gradient checkpointing on or off, in the form that needs no gradient at the inputs (non-reentrant).

    Raises:
        MiloraError: ``model/unsupported`` for a model without it.
    """
    if on and not model.supports_gradient_checkpointing:
        message = f"{type(model).__name__} has no gradient checkpointing."
        raise MiloraError("model/unsupported", message, path="train.gradientCheckpointing")
    if on:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    elif any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        model.gradient_checkpointing_disable()
