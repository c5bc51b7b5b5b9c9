"""What torch.compile needs of a machine, and its failures as errors of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from milora.errors import MiloraError

MOST_COMPILATIONS = 64
"""Graphs of one function; torch's own limit is eight. Layers of several kinds and lengths of a cache need more."""


def check_compiler(path: str) -> None:
    """Compiles something small, before anything waits for it.

    Args:
        path: The option that asks for it.

    Raises:
        MiloraError: ``environment/missing-package`` where nothing can be compiled on this machine.
    """
    tried = torch.compile(_small, dynamic=False, options={"compile_threads": 1})
    try:
        # Without torch's caches, which would answer for a compiler that is gone.
        settings: Any = torch.compiler.config
        with settings.patch(force_disable_caches=True):
            tried(torch.zeros(16))
    except TorchDynamoException as error:
        raise MiloraError(
            "environment/missing-package",
            f"{path} needs a C++ compiler, and torch can't use any here: {str(error).strip().splitlines()[0]}",
            path=path,
            hint=f"Install g++ or clang++, name one in the environment variable CXX, or leave {path} off.",
        ) from error


@contextlib.contextmanager
def compile_failures(path: str) -> Iterator[None]:
    """Failures of the compiler inside as errors of ours.

    Raises:
        MiloraError: ``model/unsupported`` for a model that torch.compile fails on.
    """
    try:
        yield
    except TorchDynamoException as error:
        raise MiloraError(
            "model/unsupported",
            f"torch.compile fails on this model's layers: {str(error).strip().splitlines()[0]}",
            path=path,
            hint=f"Leave {path} off.",
        ) from error


def _small(states: Tensor) -> Tensor:
    return states.sin() + 1
