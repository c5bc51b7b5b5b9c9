"""Every random generator of every rank of a training, as a checkpoint keeps them."""

from __future__ import annotations

import random
from typing import Any

import numpy
import torch
from torch import Tensor

from milora.models import seed_everything

RandomStates = tuple[dict[str, Any], dict[str, Tensor]]
"""Python's and NumPy's states as JSON, torch's as tensors: ``random.torch``, ``random.cuda.0`` and so on."""

_OTHERS = "ranks"


def read_random() -> RandomStates:
    """The states of this process."""
    tensors = {"random.torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states = torch.cuda.get_rng_state_all()
        tensors |= {f"random.cuda.{index}": state for index, state in enumerate(states)}
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = numpy.random.get_state(legacy=True)
    document = {
        "python": [version, list(words), gauss],
        "numpy": [name, numpy.asarray(keys).tolist(), position, has_gauss, cached],
    }
    return document, tensors


def joined(states: list[RandomStates]) -> RandomStates:
    """All ranks' states as one: those of the first rank, and the others' under their number."""
    document, tensors = dict(states[0][0]), dict(states[0][1])
    if len(states) > 1:
        document[_OTHERS] = [other for other, _ in states[1:]]
    for rank, (_, others) in enumerate(states[1:], 1):
        tensors |= {_name(name, rank): tensor for name, tensor in others.items()}
    return document, tensors


def write_random(document: dict[str, Any], tensors: dict[str, Tensor], rank: int) -> None:
    """Puts a rank's states back; one that was not there draws its seed from the first rank's state."""
    others = document.get(_OTHERS, [])
    if 0 < rank <= len(others):
        _write(others[rank - 1], tensors, rank)
        return
    _write(document, tensors, 0)
    if rank > 0:
        seed_everything(int(torch.randint(2**31, ())) + rank)


def _write(document: dict[str, Any], tensors: dict[str, Tensor], rank: int) -> None:
    version, words, gauss = document["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = document["numpy"]
    numpy.random.set_state((name, numpy.array(keys, dtype=numpy.uint32), position, has_gauss, cached))
    torch.set_rng_state(tensors[_name("random.torch", rank)])
    for index in range(torch.cuda.device_count()):
        if (state := tensors.get(_name(f"random.cuda.{index}", rank))) is not None:
            torch.cuda.set_rng_state(state, index)


def _name(name: str, rank: int) -> str:
    """Names of all ranks begin with ``random.``, for what a state may hold besides parameters."""
    return name if rank == 0 else f"random.{_OTHERS}.{rank}.{name.removeprefix('random.')}"
