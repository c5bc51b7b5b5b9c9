"""A decoder's layers, adapters included, compiled by torch.compile for the time of a training step.

One graph serves all layers that are made alike, whatever the number of rows and their length: a run that is resumed
computes with the kernels that it had before, and dropout draws the numbers that it draws uncompiled. Losses and
gradients are those of the step as it is up to rounding.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from milora.errors import MiloraError
from milora.models import (
    MOST_COMPILATIONS,
    ROUNDED,
    Forward,
    causal_model,
    check_compiler,
    compile_failures,
    decoder_layers,
    forwards_replaced,
    is_sharded,
)

_OPTION = "train.compile"


class CompiledLayers:
    """The layers of a model in training.

    Raises:
        MiloraError: ``input/invalid-spec`` for a base in bf16 or fp16 on a CPU; ``model/unsupported`` for a base in
            parts; ``environment/missing-package`` without a compiler.
    """

    def __init__(self, model: nn.Module) -> None:
        _check_base(model)
        check_compiler(_OPTION)
        _, layers = decoder_layers(causal_model(model))
        compiled: Any = torch.compile
        run = compiled(
            _run,
            dynamic=True,
            isolate_recompiles=True,
            recompile_limit=MOST_COMPILATIONS,
            # A pool of compiling processes would cost more memory and time than it saves.
            options={"fallback_random": True, "compile_threads": 1},
        )
        self._forwards: dict[nn.Module, Forward] = {layer: functools.partial(_forward, run, layer) for layer in layers}

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Inside, the layers run compiled, backward too.

        Raises:
            MiloraError: ``model/unsupported`` for a model that torch.compile fails on.
        """
        with forwards_replaced(self._forwards), compile_failures(_OPTION):
            yield


def _forward(run: Forward, layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    # A pass without gradients (the shares of first choices) is not worth graphs of its own.
    return (run if torch.is_grad_enabled() else _run)(layer, *args, **kwargs)


def _run(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return type(layer).forward(layer, *args, **kwargs)


def _check_base(model: nn.Module) -> None:
    causal = causal_model(model)
    if is_sharded(model):
        message = "Layers that are held in parts can't be compiled."
        raise MiloraError("model/unsupported", message, path=_OPTION, hint=f"Leave {_OPTION} off.")
    if causal.device.type == "cpu" and causal.dtype in ROUNDED:
        name = str(causal.dtype).removeprefix("torch.")
        raise MiloraError(
            "input/invalid-spec",
            f"On a CPU compiled layers are slower than the step as it is in {name}, which has fast forms of its own.",
            path=_OPTION,
            found=f"{name} on cpu",
            allowed="float32 on a CPU, any dtype on a GPU",
            hint=f"Leave {_OPTION} off, or set train.dtype to float32.",
        )
