"""``writeScalars``: TensorBoard's event files, by torch's own writer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from milora.errors import MiloraError
from milora.server.call import Call

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

_writers: dict[str, SummaryWriter] = {}


def _open_writer(folder: str, purge_step: int | None) -> SummaryWriter:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise MiloraError(
            "environment/missing-package",
            "train.tensorboard needs the Python package tensorboard.",
            path="train.tensorboard",
            hint=f"Run: {sys.executable} -m pip install tensorboard, or leave the setting out.",
        ) from error
    return SummaryWriter(log_dir=folder, purge_step=purge_step)


def write_scalars(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Appends scalars, flushed; opens the file at the first call.

    Raises:
        MiloraError: ``environment/missing-package`` without the package tensorboard; ``run/disk``.
    """
    folder = payload["folder"]
    try:
        writer = _writers.get(folder) or _open_writer(folder, payload["purgeStep"])
        _writers[folder] = writer
        for scalar in payload["scalars"]:
            writer.add_scalar(scalar["tag"], scalar["value"], scalar["step"])
        writer.flush()
        if payload["close"]:
            _writers.pop(folder).close()
    except OSError as error:
        _writers.pop(folder, None)
        message = f"The event file of TensorBoard in {folder} can't be written: {error.strerror or error}."
        raise MiloraError("run/disk", message, file=folder) from error
    return {}
