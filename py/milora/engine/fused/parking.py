"""Weights off the device: a tensor that is parked keeps its shape and gives its memory back.

From an accelerator they move to host memory. From a CPU, whose memory is host memory, they move to a file that has no
name any more: mapped, so that it takes no file handle, and gone with the process however that ends. The adapter's own
folder would not do: something else may lie there by now, and a request gets the version that it was admitted with.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import torch
from torch import Tensor

from milora.errors import MiloraError


@torch.inference_mode(False)
def park(tensors: Sequence[Tensor]) -> Tensor:
    """Moves tensors of one device off it; gives their bytes, for :func:`unpark`.

    Raises:
        MiloraError: ``memory/exhausted`` where there is no room for them; then nothing has changed.
    """
    if all(tensor.device.type == "cpu" for tensor in tensors):
        parked = _mapped(tensors)
    else:
        parked = torch.cat([_bytes(tensor).cpu() for tensor in tensors])
    for tensor in tensors:
        tensor.data = tensor.new_zeros(1).expand(tensor.shape)
    return parked


@torch.inference_mode(False)
def unpark(tensors: Sequence[Tensor], parked: Tensor) -> None:
    """Moves parked tensors back to their device."""
    sizes = [tensor.numel() * tensor.element_size() for tensor in tensors]
    # All before any: a device that is full leaves everything parked.
    moved = [
        part.to(tensor.device, copy=True).view(tensor.dtype).view(tensor.shape)
        for tensor, part in zip(tensors, parked.split(sizes), strict=True)
    ]
    for tensor, data in zip(tensors, moved, strict=True):
        tensor.data = data


def _mapped(tensors: Sequence[Tensor]) -> Tensor:
    try:
        with tempfile.NamedTemporaryFile(prefix="milora-adapter-") as file:
            for tensor in tensors:
                file.write(_bytes(tensor).numpy().data)
            file.flush()
            return torch.from_file(file.name, size=file.tell(), dtype=torch.uint8)
    except OSError as error:
        raise MiloraError(
            "memory/exhausted",
            f"An adapter that is not in use could not be moved to {tempfile.gettempdir()}: {error}",
            hint="Let TMPDIR name a folder with more room, unload adapters, or give a larger adapterMemory.",
        ) from error


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
