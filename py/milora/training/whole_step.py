"""A step's gradients: all of them, or none and nothing else changed either."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch

from milora.training.optimizer import GroupOptimizer
from milora.training.random_state import RandomState


@contextlib.contextmanager
def whole_or_nothing(groups: Sequence[GroupOptimizer], device: torch.device) -> Iterator[None]:
    """What breaks off inside (memory runs out) leaves no gradients, and the random states as they were before."""
    random_state = RandomState(device)
    try:
        yield
    except BaseException:
        _drop_gradients(groups)
        random_state.restore()
        raise


@contextlib.contextmanager
def thrown_away(groups: Sequence[GroupOptimizer], device: torch.device) -> Iterator[None]:
    """Gradients made inside, and numbers drawn there, leave no trace."""
    random_state = RandomState(device)
    try:
        yield
    finally:
        _drop_gradients(groups)
        random_state.restore()


def _drop_gradients(groups: Sequence[GroupOptimizer]) -> None:
    for group in groups:
        for parameter in group.parameters.values():
            parameter.grad = None
