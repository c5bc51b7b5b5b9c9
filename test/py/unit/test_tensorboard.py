"""``writeScalars``: TensorBoard's event files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ops.tensorboard import write_scalars


class _SilentCall(Call):
    """A call that nobody listens to."""

    def __init__(self) -> None:
        pass


def write(folder: Path, scalars: list[dict[str, Any]], *, purge: int | None = None, close: bool = False) -> None:
    payload = {"folder": str(folder), "purgeStep": purge, "scalars": scalars, "close": close}
    assert write_scalars(payload, _SilentCall()) == {}


def loss(step: int, value: float) -> dict[str, Any]:
    return {"tag": "weights/loss", "step": step, "value": value}


def test_a_missing_package_is_told_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(MiloraError) as raised:
        write(tmp_path, [])
    assert raised.value.code == "environment/missing-package"
    assert "pip install tensorboard" in str(raised.value.details["hint"])


def test_tensorboard_reads_what_was_written_and_drops_what_a_resumed_run_makes_again(tmp_path):
    accumulator = "tensorboard.backend.event_processing.event_accumulator"
    reader = pytest.importorskip(accumulator, reason="the extra tensorboard is not installed")
    write(tmp_path, [])
    write(tmp_path, [loss(1, 4.0), loss(2, 3.0), loss(3, 2.5)])
    write(tmp_path, [loss(4, 2.0)], close=True)
    # The run was killed and goes on behind its checkpoint of step 2.
    write(tmp_path, [], purge=3)
    write(tmp_path, [loss(3, 2.25)], close=True)
    events = reader.EventAccumulator(str(tmp_path)).Reload().Scalars("weights/loss")
    assert [(event.step, event.value) for event in events] == [(1, 4.0), (2, 3.0), (3, 2.25)]
