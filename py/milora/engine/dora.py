"""PEFT's DoRA without the norm of all its weights at every call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from peft.helpers import DoraCaching
from peft.tuners.lora.dora import DoraLinearLayer
from torch import nn


@contextlib.contextmanager
def cached_dora(model: nn.Module) -> Iterator[None]:
    """Inside, DoRA modules compute their norms and products A B once; the weights must not change there.

    Afterwards nothing is kept: PEFT itself would go on with these values when the weights have changed, and they take
    as much memory as the adapted modules.
    """
    try:
        with DoraCaching():
            yield
    finally:
        for module in model.modules():
            if isinstance(module, DoraLinearLayer) and not module.training:
                # PEFT drops the values when training begins.
                module.train().eval()
