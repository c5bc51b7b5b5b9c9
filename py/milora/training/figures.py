"""Figures of training steps: kept on the device, read when asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Group = Literal["weights", "activation"]


@dataclass(frozen=True)
class StepFigures:
    """One step: mean loss of an answer token in nats, balance loss (mean over layers), gradient norm, tokens.

    ``loss`` and ``gradient_norm`` are None where they were not finite or nothing was computed; ``balance`` also for a
    method without routers.
    """

    kind: Group
    loss: float | None
    balance: float | None
    gradient_norm: float | None
    answer_tokens: int
    tokens: int


@dataclass(frozen=True)
class DeviceFigures:
    """The same, still on the device; None: not computed."""

    kind: Group
    loss: Tensor | None
    balance: Tensor | None
    gradient_norm: Tensor | None
    answer_tokens: int
    tokens: int


def read_figures(steps: list[DeviceFigures]) -> list[StepFigures]:
    """Reads the figures of all steps in one transfer."""
    tensors = [value for step in steps for value in (step.loss, step.balance, step.gradient_norm) if value is not None]
    values = iter(torch.stack([tensor.detach().float() for tensor in tensors]).tolist() if tensors else [])

    def read(value: Tensor | None) -> float | None:
        if value is None:
            return None
        number = next(values)
        return number if math.isfinite(number) else None

    return [
        StepFigures(
            kind=step.kind,
            loss=read(step.loss),
            balance=read(step.balance),
            gradient_norm=read(step.gradient_norm),
            answer_tokens=step.answer_tokens,
            tokens=step.tokens,
        )
        for step in steps
    ]
