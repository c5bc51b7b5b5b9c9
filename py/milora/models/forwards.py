"""Modules that run another forward method for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

Forward = Callable[..., Any]


def has_own_forward(module: nn.Module) -> bool:
    """The module runs its class's own forward method, and no hooks."""
    return not ("forward" in module.__dict__ or module._forward_hooks or module._forward_pre_hooks)


def is_untouched(module: nn.Module) -> bool:
    """As :func:`has_own_forward`, and nothing of the module trains."""
    return has_own_forward(module) and not any(parameter.requires_grad for parameter in module.parameters())


@contextlib.contextmanager
def forwards_replaced(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Inside, the modules run these in place of their own forward methods."""
    for module, forward in forwards.items():
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module in forwards:
            del module.__dict__["forward"]
