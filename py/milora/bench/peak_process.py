"""A measurement of memory in a process of its own: one process cannot tell two engines apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from milora.errors import MiloraError
from milora.models import choose_placement, open_model, resolve_source
from milora.tuners import register

_TIMEOUT_SECONDS = 1200


def peak_in_process(module: str, trial: Mapping[str, Any]) -> int:
    """Runs a module of this package that ends with :func:`answer`; gives the bytes that it has found.

    Raises:
        MiloraError: ``python/exception`` where the process did not come to its end.
    """
    environment = {**os.environ, "TRANSFORMERS_VERBOSITY": "error"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(trial),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"The process that measures memory took more than {_TIMEOUT_SECONDS} seconds."
        raise MiloraError("python/exception", message) from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["nothing on stderr"]
        message = f"The process that measures memory ended with code {done.returncode}: {last[0]}"
        raise MiloraError("python/exception", message)
    return int(json.loads(done.stdout.splitlines()[-1])["bytes"])


def answer(measure: Callable[[dict[str, Any]], int]) -> None:
    """In that process: measures the trial on stdin, and prints what it has found."""
    print(json.dumps({"bytes": measure(json.loads(sys.stdin.read()))}))


def opened(model: str, device: str, dtype: str, attention: str) -> PreTrainedModel:
    """A model by the names of an open one, with its weights read: those in a mapped file count only then."""
    register()
    base = open_model(
        resolve_source(model), choose_placement(device, dtype, attention), 0, lambda _done, _of: None
    ).model
    with torch.no_grad():
        base(input_ids=torch.zeros(1, 1, dtype=torch.long, device=base.device))
    return base
